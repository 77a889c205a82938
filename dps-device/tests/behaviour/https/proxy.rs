//! Through a proxy: a tunnel, and nothing else.

use std::time::Duration;

use dps_device::{ErrorKind, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::client;
use super::pki::Pki;
use super::server::{Server, json as answer};
use crate::script::{ASSIGNED, ASSIGNING};

/// Takes one connection, answers its CONNECT with `status`, and tells what it read.
async fn proxy(status: &'static str, to: u16) -> (u16, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, head) = oneshot::channel();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            read.push(client.read_u8().await.unwrap());
        }
        let read = String::from_utf8(read).unwrap();
        sender.send(read).unwrap();
        let answer = format!("HTTP/1.1 {status}\r\n\r\n");
        client.write_all(answer.as_bytes()).await.unwrap();
        if status.starts_with("200") {
            let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            // Either end may be cut.
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
    });
    (port, head)
}

#[tokio::test]
async fn a_registration_goes_through_the_tunnel() {
    let pki = Pki::new();
    let mut server = Server::start(
        pki.server(false),
        [answer(202, "", ASSIGNING), answer(200, "", ASSIGNED)],
    )
    .await;
    let (port, head) = proxy("200 Connection established", server.port()).await;
    let proxy: Proxy = format!("http://us%40er:p%3Aass@127.0.0.1:{port}")
        .parse()
        .unwrap();
    let client = client(&pki, &server).with_proxy(proxy);
    client.register().await.unwrap();

    let head = head.await.unwrap();
    let connect = format!("CONNECT localhost:{} HTTP/1.1\r\n", server.port());
    assert!(head.starts_with(&connect), "{head}");
    // base64 of "us@er:p:ass"
    assert!(
        head.contains("proxy-authorization: Basic dXNAZXI6cDphc3M=\r\n"),
        "{head}"
    );
    assert!(!head.contains("SharedAccessSignature"), "{head}");
    assert_eq!(server.request().await.header("proxy-authorization"), None);
}

#[tokio::test]
async fn a_proxy_without_credentials_gets_none() {
    let pki = Pki::new();
    let server = Server::start(pki.server(false), [answer(200, "", ASSIGNED)]).await;
    let (port, head) = proxy("200 OK", server.port()).await;
    let client = client(&pki, &server).with_proxy(Proxy::new("127.0.0.1", port).unwrap());
    client.register().await.unwrap();
    let head = head.await.unwrap().to_ascii_lowercase();
    assert!(!head.contains("authorization"), "{head}");
}

#[tokio::test]
async fn a_proxy_that_refuses_is_a_connect_failure() {
    let pki = Pki::new();
    let server = Server::start(pki.server(false), []).await;
    let (port, _head) = proxy("407 Proxy Authentication Required", 0).await;
    let client = client(&pki, &server).with_proxy(Proxy::new("127.0.0.1", port).unwrap());
    let register = client.register().deadline(Duration::from_secs(1));
    let error = register.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(error.last_failure().unwrap().kind(), ErrorKind::Connect);
}
