//! A caller in a process without a TLS provider and without roots, and with a proxy in the environment.

use std::env;
use std::process::Command;

use dps_allocation::{AllocationPolicy as _, ErrorKind, WebhookClient};

use crate::common::{HUB_A, request};
use crate::mock::Mock;

#[tokio::test]
async fn plain_http_uses_nothing_from_the_environment() {
    if env::var_os("HTTP_PROXY").is_none() {
        let ended = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "fresh_process::plain_http_uses_nothing_from_the_environment",
            ])
            // Nothing listens on this port.
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .env("http_proxy", "http://127.0.0.1:1")
            .env("ALL_PROXY", "http://127.0.0.1:1")
            .env("SSL_CERT_FILE", "/nowhere/roots.pem")
            .env("SSL_CERT_DIR", "/nowhere/roots")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{output}");
        assert!(output.contains("1 passed"), "{output}");
        return;
    }
    let client = WebhookClient::new();
    let mock = Mock::answering("200 OK", r#"{"iotHubHostName":"hub-a.azure-devices.net"}"#).await;
    let caller = client.caller(&mock.url()).unwrap();
    let allocation = caller.allocate(&request("dev-1", &[HUB_A])).await.unwrap();
    assert_eq!(allocation.hub().as_str(), HUB_A);

    // Only https requires roots, and this machine has none.
    let error = client.caller("https://localhost/?code=s3cret").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Roots);
    assert!(std::error::Error::source(&error).is_some());
}
