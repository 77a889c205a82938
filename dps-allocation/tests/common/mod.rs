//! What the tests share: the documented exchange, and requests over a real socket.
#![allow(dead_code)] // Each test file uses its part.

use std::net::SocketAddr;

use dps_types::AllocationRequest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What DPS posts, from Microsoft's page on custom allocation.
pub const DOCUMENTED_REQUEST: &str = r#"{"enrollmentGroup":{"enrollmentGroupId":"contoso-custom-allocated-devices","attestation":{"type":"symmetricKey"},
   "capabilities":{"iotEdge":false},"etag":"\"13003fea-0000-0300-0000-62d1d5e50000\"","provisioningStatus":"enabled",
   "reprovisionPolicy":{"updateHubAssignment":true,"migrateDeviceData":true},
   "createdDateTimeUtc":"2022-07-05T21:27:16.8123235Z","lastUpdatedDateTimeUtc":"2022-07-15T21:02:29.5922255Z",
   "allocationPolicy":"custom","iotHubs":["hub-a.azure-devices.net","hub-b.azure-devices.net"],
   "customAllocationDefinition":{"webhookUrl":"https://app.azurewebsites.net/api/HttpTrigger1?****","apiVersion":"2021-10-01"}},
 "deviceRuntimeContext":{"registrationId":"dev-007","currentIotHubHostName":"hub-a.azure-devices.net","currentDeviceId":"dev-007",
   "symmetricKey":{},"payload":{"k":"v"}},
 "linkedHubs":["hub-a.azure-devices.net","hub-b.azure-devices.net"]}"#;

pub const HUB_A: &str = "hub-a.azure-devices.net";
pub const HUB_B: &str = "hub-b.azure-devices.net";

pub fn request(registration_id: &str, linked_hubs: &[&str]) -> AllocationRequest {
    request_with(registration_id, linked_hubs, json!({}))
}

/// With these members in the device's runtime context.
pub fn request_with(
    registration_id: &str,
    linked_hubs: &[&str],
    mut context: Value,
) -> AllocationRequest {
    context["registrationId"] = json!(registration_id);
    serde_json::from_value(json!({
        "enrollmentGroup": { "enrollmentGroupId": "group", "attestation": { "type": "symmetricKey" } },
        "deviceRuntimeContext": context,
        "linkedHubs": linked_hubs,
    }))
    .expect("an allocation request")
}

/// A `POST` of the body, after which the connection closes.
pub fn post(target: &str, headers: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: webhook\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

pub const JSON: &str = "Content-Type: application/json\r\n";

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status");
        Self {
            status: status.parse().expect("a number"),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// Sends the bytes and reads until the server closes.
pub async fn exchange(address: SocketAddr, bytes: &str) -> Reply {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(bytes.as_bytes()).await.expect("sends");
    Reply::parse(&read_to_end(&mut stream).await)
}

pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("reads");
    text
}
