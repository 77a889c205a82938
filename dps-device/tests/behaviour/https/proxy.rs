//! A tunnel through a proxy.

use dps_device::{ErrorKind, Proxy};

use super::client;
use super::server::{Server, json as answer};
use crate::first_failure::first_failure;
use crate::http_proxy::proxy;
use crate::pki::Pki;
use crate::script::{ASSIGNED, ASSIGNING};

#[tokio::test]
async fn a_registration_uses_the_tunnel() {
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
async fn no_credentials_are_sent_to_a_proxy_without_them() {
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
    let (port, _head) = proxy("403 Forbidden", 0).await;
    let client = client(&pki, &server).with_proxy(Proxy::new("127.0.0.1", port).unwrap());
    let error = first_failure(&client).await;
    assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_proxy_that_requires_credentials_is_a_configuration_failure() {
    let pki = Pki::new();
    let server = Server::start(pki.server(false), []).await;
    let (port, _head) = proxy("407 Proxy Authentication Required", 0).await;
    let client = client(&pki, &server).with_proxy(Proxy::new("127.0.0.1", port).unwrap());
    let error = client.register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{error:?}");
    assert!(error.to_string().contains("407"), "{error}");
}
