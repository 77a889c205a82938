//! Proxies: one that is set, and one in the environment, which is not used.

use std::env;

use crate::support::{Service, answer};
use dps_service::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// As in the device client: nothing is read from the environment.
#[tokio::test]
async fn a_proxy_in_the_environment_is_not_used() {
    if env::var("DPS_TEST_PROXY").is_err() {
        return in_a_process_with_a_proxy().await;
    }
    let body = r#"{"enrollmentGroupId":"toasters","attestation":{"type":"symmetricKey"}}"#;
    let service = Service::start([answer("200 OK", body)]).await;
    let id = "toasters".parse().unwrap();
    service.client().enrollment_groups().get(&id).await.unwrap();
}

/// The environment of a process cannot be changed safely, so the test runs itself in a second process.
async fn in_a_process_with_a_proxy() {
    // Nothing listens on this port.
    let url = "http://127.0.0.1:1";
    let output = Command::new(env::current_exe().expect("a program"))
        .args(["--exact", "proxy::a_proxy_in_the_environment_is_not_used"])
        .envs([
            ("HTTPS_PROXY", url),
            ("https_proxy", url),
            ("ALL_PROXY", url),
        ])
        .env("DPS_TEST_PROXY", url)
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .await
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

/// A proxy that requires these credentials and connects to the port.
async fn proxy(credentials: &'static str, port: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tunnel(stream, credentials, port));
        }
    });
    address.to_string()
}

async fn tunnel(mut stream: TcpStream, credentials: &str, port: u16) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
    let (asked, authorization) = (
        format!("connect localhost:{port} http/1.1\r\n"),
        format!("proxy-authorization: basic {credentials}\r\n"),
    );
    if !head.starts_with(&asked) || !head.contains(&authorization) {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        return stream.write_all(refusal.as_bytes()).await;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let mut there = TcpStream::connect(("127.0.0.1", port)).await?;
    copy_bidirectional(&mut stream, &mut there).await.map(drop)
}

#[tokio::test]
async fn a_proxy_is_used_with_its_credentials() {
    let body = r#"{"enrollmentGroupId":"toasters","attestation":{"type":"symmetricKey"}}"#;
    let service = Service::start([answer("200 OK", body)]).await;
    let port = service
        .host()
        .trim_start_matches("localhost:")
        .parse()
        .unwrap();
    // `me:p@ss` in base64, in lower case as the proxy compares it.
    let address = proxy("bwu6cebzcw==", port).await;
    let id = "toasters".parse().unwrap();

    let dps = service
        .client()
        .with_proxy(format!("http://me:p%40ss@{address}").parse().unwrap());
    dps.enrollment_groups().get(&id).await.unwrap();
    service.only_one();

    let refused = service
        .client()
        .with_proxy(format!("http://me:wrong@{address}").parse().unwrap());
    let error = refused.enrollment_groups().get(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(!format!("{error:?} {refused:?}").contains("wrong"));
    assert!(service.seen().is_empty());
}
