//! A tunnel through an HTTP proxy.

use dps_device::{ErrorKind, Proxy};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::server::{Server, header, in_time, read_head};
use super::{MQTT_KINDS, MqttKind, Running, client, key};
use crate::first_failure::first_failure;
use crate::http_proxy::proxy;
use crate::pki::Pki;

#[tokio::test]
async fn a_registration_uses_the_tunnel() {
    for kind in MQTT_KINDS {
        let pki = Pki::new();
        let server = Server::start(*kind, pki.server(false)).await;
        let (port, head) = proxy("200 Connection established", server.port()).await;
        let proxy: Proxy = format!("http://us%40er:p%3Aass@127.0.0.1:{port}")
            .parse()
            .unwrap();
        let client = client(key("my-device"), *kind, &pki, server.port()).with_proxy(proxy);
        let running = Running::start(&client);
        let mut peer = server.session().await;
        let request = peer.registration().await;
        peer.assign(&request).await;
        running.outcome().await.unwrap();

        let to = format!("localhost:{}", server.port());
        // base64 of "us@er:p:ass"
        assert_eq!(
            head.await.unwrap(),
            format!(
                "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nProxy-Authorization: Basic dXNAZXI6cDphc3M=\r\n\r\n"
            )
        );
        assert_eq!(header(&peer.upgrade, "proxy-authorization"), None);
    }
}

#[tokio::test]
async fn no_credentials_are_sent_to_a_proxy_without_them() {
    let pki = Pki::new();
    let server = Server::start(MqttKind::Mqtt, pki.server(false)).await;
    let (port, head) = proxy("200 OK", server.port()).await;
    let client = client(key("my-device"), MqttKind::Mqtt, &pki, server.port())
        .with_proxy(Proxy::new("127.0.0.1", port).unwrap());
    let running = Running::start(&client);
    server.session().await;
    running.cancel();
    let to = format!("localhost:{}", server.port());
    let expected = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    assert_eq!(head.await.unwrap(), expected);
}

#[tokio::test]
async fn a_proxy_that_requires_credentials_is_a_configuration_failure() {
    let pki = Pki::new();
    for kind in MQTT_KINDS {
        let (port, _head) = proxy("407 Proxy Authentication Required", 0).await;
        let client = client(key("my-device"), *kind, &pki, 8883)
            .with_proxy("http://user:hunter2@127.0.0.1".parse().unwrap())
            .with_proxy(
                Proxy::new("127.0.0.1", port)
                    .unwrap()
                    .with_credentials("user", "hunter2"),
            );
        let error = client.register().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert!(error.to_string().contains("407"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

/// The failure of a registration whose proxy answers this and closes the connection.
async fn answered(answer: &[u8]) -> dps_device::Error {
    let pki = Pki::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = client(key("my-device"), MqttKind::Mqtt, &pki, 8883)
        .with_proxy(Proxy::new("127.0.0.1", port).unwrap());
    let answer = async {
        let (mut stream, _) = in_time(listener.accept()).await.unwrap();
        read_head(&mut stream).await;
        // The client may close the connection before it has read everything.
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
    };
    let (failure, ()) = tokio::join!(first_failure(&client), answer);
    failure
}

#[tokio::test]
async fn a_proxy_that_refuses_or_disconnects_is_a_connect_failure() {
    for answer in [
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 502 Bad Gateway\r\n\r\n",
        "HTTP/1.1 200 Connection est",
        "",
    ] {
        let error = answered(answer.as_bytes()).await;
        assert_eq!(error.kind(), ErrorKind::Connect, "{answer:?} {error:?}");
        assert!(error.is_retryable(), "{answer:?} {error:?}");
    }
}

#[tokio::test]
async fn a_peer_that_is_not_an_http_proxy_is_a_protocol_failure() {
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X-Filler: x\r\n".repeat(1000));
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 2 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nand more",
        &endless,
    ] {
        let error = answered(answer.as_bytes()).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{answer:.30} {error:?}");
    }
}
