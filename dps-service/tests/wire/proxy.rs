//! A proxy in the environment: used for the service, not for an emulator on this machine.

use std::env;
use std::time::Duration;

use crate::support::{KEY, Service, answer};
use dps_service::{ErrorKind, ServiceClient};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
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
        .with_deadline(Duration::from_secs(1));
    let error = elsewhere.enrollment_groups().get(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
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
