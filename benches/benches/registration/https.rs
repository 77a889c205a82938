//! A registration over HTTPS without our code: the handshake and the two requests with reqwest, hyper and prepared documents.

use std::convert::Infallible;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use reqwest::{Client, redirect, retry};
use tokio::net::TcpListener;

use crate::handshake::Handshake;

const TYPE: &str = "application/json; charset=utf-8";
/// As long as the token and the documents of a registration with a symmetric key.
const TOKEN: &str = "SharedAccessSignature sr=0ne00000A0A%2Fregistrations%2Ftoaster-http-1&sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D&se=1800000000&skn=registration";
const REQUEST: &str = r#"{"registrationId":"toaster-http-1"}"#;
const ACCEPTED: &str = r#"{"operationId":"5.0123456789abcdef.01234567-89ab-cdef-0123-456789abcdef","status":"assigning"}"#;
const ASSIGNED: &str = r#"{"operationId":"5.0123456789abcdef.01234567-89ab-cdef-0123-456789abcdef","status":"assigned","registrationState":{"registrationId":"toaster-http-1","createdDateTimeUtc":"2026-11-27T12:00:00.0000000Z","assignedHub":"contoso-hub.azure-devices.net","deviceId":"toaster-http-1","status":"assigned","substatus":"initialAssignment","lastUpdatedDateTimeUtc":"2026-11-27T12:00:00.0000000Z","etag":"IjAxMjM0NTY3LTg5YWItY2RlZi0wMTIzLTQ1Njc4OWFiY2RlZiI="}}"#;

/// The two requests over one connection of a new client.
pub(crate) async fn register(handshake: &Handshake, host: &str, port: u16) {
    let client = Client::builder()
        .tls_backend_preconfigured(handshake.client().as_ref().clone())
        .https_only(true)
        .http1_only()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .build()
        .unwrap();
    let base = format!("https://{host}:{port}/0ne00000A0A/registrations/toaster-http-1");
    let request = |method, path: &str| {
        client
            .request(method, format!("{base}{path}?api-version=2021-06-01"))
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, TOKEN)
    };
    let register = request(Method::PUT, "/register")
        .header(CONTENT_TYPE, TYPE)
        .body(REQUEST);
    let answer = register.send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), ACCEPTED);
    let operation = "/operations/5.0123456789abcdef.01234567-89ab-cdef-0123-456789abcdef";
    let answer = request(Method::GET, operation).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap(), ASSIGNED);
}

/// Answers both requests, until the runtime ends. Returns the port.
pub(crate) async fn serve(handshake: &Handshake) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = handshake.acceptor();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let stream = acceptor.accept(stream).await.unwrap();
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new());
                let serving = http.serve_connection(TokioIo::new(stream), service_fn(answer));
                // The client closes the connection without an answer.
                let _ = serving.await;
            });
        }
    });
    port
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let document = match *request.method() {
        Method::PUT => ACCEPTED,
        _ => ASSIGNED,
    };
    let answer = Response::builder()
        .header(CONTENT_TYPE, TYPE)
        .header(DATE, "Fri, 27 Nov 2026 12:00:00 GMT");
    Ok(answer.body(document.to_owned()).unwrap())
}
