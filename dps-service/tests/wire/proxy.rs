//! A proxy in the environment: used for the service, not for an emulator on this machine.

use std::env;
use std::time::Duration;

use crate::support::{KEY, Service, answer};
use dps_service::{ErrorKind, ServiceClient};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

const PROXY: &str = "HTTPS_PROXY";

#[tokio::test]
async fn a_proxy_of_the_environment_is_for_other_machines() {
    let Ok(proxy) = env::var("DPS_TEST_PROXY") else {
        return in_a_process_with_a_proxy().await;
    };
    assert_eq!(env::var(PROXY), Ok(proxy));

    let body = r#"{"enrollmentGroupId":"toasters","attestation":{"type":"symmetricKey"}}"#;
    let service = Service::start([answer("200 OK", body)]).await;
    let id = "toasters".parse().unwrap();
    let here = service.client();
    here.enrollment_groups().get(&id).await.unwrap();

    let text = format!("HostName=dps.invalid;SharedAccessKeyName=me;SharedAccessKey={KEY}");
    let elsewhere = ServiceClient::from_connection_string(&text)
        .unwrap()
        .with_roots(service.roots())
        .with_timeout(Duration::from_secs(1));
    let error = elsewhere.enrollment_groups().get(&id).await.unwrap_err();
    // Refused by the proxy, or out of time over trying again.
    let kind = error.kind();
    assert!(
        matches!(kind, ErrorKind::Connect | ErrorKind::Deadline),
        "{error}"
    );
}

/// The environment of a process cannot be changed safely: the test runs itself in another one.
async fn in_a_process_with_a_proxy() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", proxy.local_addr().expect("an address"));
    let asked = tokio::spawn(async move {
        let (mut stream, _) = proxy.accept().await.expect("a connection");
        let mut line = [0; 23];
        stream.read_exact(&mut line).await.expect("a line");
        String::from_utf8(line.to_vec()).expect("text")
    });
    let ended = Command::new(env::current_exe().expect("a program"))
        .args([
            "--exact",
            "proxy::a_proxy_of_the_environment_is_for_other_machines",
        ])
        .env(PROXY, &url)
        .env("DPS_TEST_PROXY", &url)
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .await
        .expect("it runs");
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{output}");
    assert!(output.contains("1 passed"), "{output}");
    assert_eq!(asked.await.expect("no panic"), "CONNECT dps.invalid:443");
}

/// A proxy that wants this login, and then lets everything through to the port.
async fn proxy(login: &'static str, port: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(tunnel(stream, login, port));
        }
    });
    address.to_string()
}

async fn tunnel(mut stream: TcpStream, login: &str, port: u16) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).expect("text").to_ascii_lowercase();
    let (asked, login) = (
        format!("connect localhost:{port} http/1.1\r\n"),
        format!("proxy-authorization: basic {login}\r\n"),
    );
    if !head.starts_with(&asked) || !head.contains(&login) {
        let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
        return stream.write_all(refusal.as_bytes()).await;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let mut there = TcpStream::connect(("127.0.0.1", port)).await?;
    copy_bidirectional(&mut stream, &mut there).await.map(drop)
}

#[tokio::test]
async fn a_proxy_that_is_given_is_used_with_its_login() {
    let body = r#"{"enrollmentGroupId":"toasters","attestation":{"type":"symmetricKey"}}"#;
    let service = Service::start([answer("200 OK", body)]).await;
    let port = service
        .host()
        .trim_start_matches("localhost:")
        .parse()
        .unwrap();
    // `me:p@ss`, and what it is in base64, in lower case as the proxy compares it.
    let address = proxy("bwu6cebzcw==", port).await;
    let id = "toasters".parse().unwrap();

    let dps = service
        .client()
        .with_proxy(&format!("http://me:p%40ss@{address}"))
        .unwrap();
    dps.enrollment_groups().get(&id).await.unwrap();
    service.only_one();

    let refused = service
        .client()
        .with_proxy(&format!("http://me:wrong@{address}"))
        .unwrap();
    let error = refused.enrollment_groups().get(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(!format!("{error:?} {refused:?}").contains("wrong"));
    assert!(service.seen().is_empty());
}

#[tokio::test]
async fn what_is_no_proxy_is_refused_and_not_repeated() {
    let service = Service::start([]).await;
    for url in [
        "",
        "proxy:3128",
        "https://me:sesame@proxy",
        "http://me:sesame@",
        "http://me:sesame@proxy/path",
        "socks5://me:sesame@proxy",
    ] {
        let error = service.client().with_proxy(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{url}");
        assert!(!format!("{error} {error:?}").contains("sesame"));
    }
}
