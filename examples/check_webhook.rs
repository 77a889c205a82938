//! Checks a webhook: calls it as DPS does, and explains how DPS interprets the answer. Offline, with its own webhook that
//! contains a typing mistake: `cargo run --example check_webhook`; for yours: `cargo run --example check_webhook -- URL [REQUEST.json]`
use std::{env, fs};

use dps_allocation::WebhookClient;
use dps_types::{AllocationRequest, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A request as DPS posts it. The log of your webhook contains those for your enrollment.
const REQUEST: &str = r#"{
  "enrollmentGroup": { "enrollmentGroupId": "toasters", "attestation": { "type": "symmetricKey" }, "allocationPolicy": "custom" },
  "deviceRuntimeContext": { "registrationId": "toaster-1", "symmetricKey": {}, "payload": { "model": "toaster" } },
  "linkedHubs": ["hub-a.azure-devices.net", "hub-b.azure-devices.net"]
}"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let url = match arguments.next() {
        Some(url) => url,
        None => mistaken_webhook().await?,
    };
    let request = match arguments.next() {
        Some(file) => fs::read_to_string(file)?,
        None => REQUEST.to_owned(),
    };
    let request: AllocationRequest = json::from_str(&request)?;
    let inspection = WebhookClient::new().inspect(&url, &request).await?;
    println!("{inspection}");
    match inspection.outcome().hub() {
        Some(_) => Ok(()),
        None => Err("the device would not be assigned".into()),
    }
}

/// Starts a webhook that misspells the name of the initial twin. DPS does not report that.
async fn mistaken_webhook() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/api/allocate?code=secret", listener.local_addr()?);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut request = Vec::new();
        while !request.ends_with(b"}") && stream.read_buf(&mut request).await? > 0 {}
        let answer = r#"{"iotHubHostName":"hub-a.azure-devices.net","initalTwin":{"tags":{}}}"#;
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", answer.len());
        stream.write_all((head + answer).as_bytes()).await
    });
    Ok(url)
}
