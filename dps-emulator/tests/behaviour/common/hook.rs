//! Webhooks: one that sends the exact bytes of a test, and `dps-allocation`'s own.

use std::sync::Arc;

use dps_allocation::Webhook;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::TIMEOUT;

type Script = dyn Fn(&Value) -> Option<(u16, String)> + Send + Sync;

/// A webhook on plain sockets. It keeps what it was asked; dropping it ends it.
pub(crate) struct Hook {
    pub(crate) url: String,
    asked: watch::Receiver<Vec<Request>>,
    _server: JoinSet<()>,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Request line and headers.
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Hook {
    /// Answers each request with the status and body of the script, or not at all for `None`.
    pub(crate) async fn start(
        script: impl Fn(&Value) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        Self::run("http", None, script).await
    }

    /// Always answers this.
    pub(crate) async fn saying(status: u16, body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |_| Some((status, body.clone()))).await
    }

    /// Always answers this over TLS. Also returns the certificate to trust.
    pub(crate) async fn saying_over_tls(body: &str) -> (Self, String) {
        let (tls, certificate) = server_tls();
        let body = body.to_owned();
        let hook = Self::run("https", Some(tls), move |_| Some((200, body.clone()))).await;
        (hook, certificate)
    }

    async fn run(
        scheme: &str,
        tls: Option<TlsAcceptor>,
        script: impl Fn(&Value) -> Option<(u16, String)> + Send + Sync + 'static,
    ) -> Self {
        let (listener, address) = listen().await;
        let (tell, asked) = watch::channel(Vec::new());
        let (script, tell): (Arc<Script>, _) = (Arc::new(script), Arc::new(tell));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (script, tell, tls) = (Arc::clone(&script), Arc::clone(&tell), tls.clone());
                connections.spawn(async move {
                    let Some(tls) = tls else {
                        return answer(stream, script, tell).await;
                    };
                    if let Ok(stream) = tls.accept(stream).await {
                        answer(stream, script, tell).await;
                    }
                });
            }
        });
        Self {
            url: format!("{scheme}://{address}/api/allocate?code=function-key-secret"),
            asked,
            _server: server,
        }
    }

    /// Waits for this number of requests, and returns all of them.
    pub(crate) async fn asked(&self, times: usize) -> Vec<Request> {
        let mut asked = self.asked.clone();
        let requests = timeout(TIMEOUT, asked.wait_for(|all| all.len() >= times)).await;
        requests.expect("asked in time").expect("it runs").clone()
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    script: Arc<Script>,
    tell: Arc<watch::Sender<Vec<Request>>>,
) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let answer = script(&request.body);
        tell.send_modify(|all| all.push(request));
        let Some((status, body)) = answer else {
            return std::future::pending().await;
        };
        let length = body.len();
        let text = format!("HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\n\r\n{body}");
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<impl AsyncRead + Unpin>) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().expect("a length"))
    });
    let mut body = vec![0; length.expect("a Content-Length")];
    stream.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).expect("JSON");
    Some(Request { head, body })
}

/// Serves a policy of `dps-allocation` until the set is dropped. Returns its URL.
pub(crate) async fn serve(webhook: Webhook) -> (String, JoinSet<()>) {
    let (listener, address) = listen().await;
    let mut server = JoinSet::new();
    server.spawn(async move { webhook.serve(listener).await.expect("served") });
    (format!("http://{address}/api/allocate"), server)
}

async fn listen() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// A server for 127.0.0.1, and its certificate as PEM.
fn server_tls() -> (TlsAcceptor, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let chain = vec![certificate.der().clone()];
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from(key))
        .expect("TLS");
    (TlsAcceptor::from(Arc::new(config)), certificate.pem())
}
