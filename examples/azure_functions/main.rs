//! A custom allocation policy as an Azure Function, without code of the Functions SDK: a custom handler.
//! Offline, it starts itself as the Functions host does, and calls itself once: `cargo run --example azure_functions`
//!
//! To deploy it to a function app on Linux, with the stack for custom handlers (.NET Core), in a new folder `app`:
//! 1. `mkdir app && cp -r examples/azure_functions/host.json examples/azure_functions/allocate app`
//! 2. `cargo build --release --example azure_functions && cp target/release/examples/azure_functions app/handler`
//! 3. `cd app && func azure functionapp publish NAME --custom` (`func start --custom` runs it here)
//! 4. copy the function's URL, with its key: `https://NAME.azurewebsites.net/api/allocate?code=…`
//! 5. set it in the enrollment: `enrollment.allocate_by_webhook(url)`, with API version 2021-10-01
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use dps_allocation::policies::{ByPayload, EvenlyWeighted, Fixed};
use dps_allocation::{AllocationPolicy, Webhook, WebhookClient};
use dps_types::{AllocationRequest, AllocationResponse};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

const PORT: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Assigns toasters to the hub for toasters, and other devices to any hub.
fn policy() -> Result<impl AllocationPolicy> {
    Ok(ByPayload::field("model")
        .when("toaster", Fixed::to("contoso-toasters.azure-devices.net".parse()?))
        .otherwise(EvenlyWeighted::new()))
}

#[tokio::main]
async fn main() -> Result<()> {
    if env::var_os(PORT).is_none() {
        return demonstrate().await;
    }
    tracing_subscriber::fmt().with_ansi(false).init(); // the Functions host logs the output of a handler
    Ok(Webhook::new(policy()?).serve_azure_functions().await?)
}

/// Does what the Functions host does: starts the handler with a port, and forwards the request of DPS.
async fn demonstrate() -> Result<()> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?;
    let mut handler =
        Command::new(env::current_exe()?).env(PORT, free.port().to_string()).kill_on_drop(true).spawn()?;
    timeout(Duration::from_secs(60), started(free)).await?; // the timeout of the Functions host

    let request: AllocationRequest = serde_json::from_str(REQUEST)?;
    let url = format!("http://{free}/api/allocate");
    println!("calling {url} for {}", request.registration_id());
    let allocation = WebhookClient::new().caller(&url)?.allocate(&request).await?;
    println!("{}", serde_json::to_string(&AllocationResponse::from(allocation))?);
    Ok(handler.kill().await?)
}

async fn started(handler: SocketAddr) {
    while TcpStream::connect(handler).await.is_err() {
        sleep(Duration::from_millis(20)).await;
    }
}

/// A request as DPS posts it. Source: azure-docs `iot-dps/concepts-custom-allocation.md`.
const REQUEST: &str = r#"{
    "enrollmentGroup": {
        "enrollmentGroupId": "contoso-custom-allocated-devices",
        "attestation": {"type": "symmetricKey"},
        "capabilities": {"iotEdge": false},
        "etag": "\"13003fea-0000-0300-0000-62d1d5e50000\"",
        "provisioningStatus": "enabled",
        "reprovisionPolicy": {"updateHubAssignment": true, "migrateDeviceData": true},
        "createdDateTimeUtc": "2022-07-05T21:27:16.8123235Z",
        "lastUpdatedDateTimeUtc": "2022-07-15T21:02:29.5922255Z",
        "allocationPolicy": "custom",
        "iotHubs": ["contoso-toasters.azure-devices.net", "contoso-heatpumps.azure-devices.net"],
        "customAllocationDefinition": {
            "webhookUrl": "https://contoso-allocation.azurewebsites.net/api/allocate?****",
            "apiVersion": "2021-10-01"
        }
    },
    "deviceRuntimeContext": {
        "registrationId": "breakroom-toaster-1",
        "symmetricKey": {},
        "payload": {"model": "toaster"}
    },
    "linkedHubs": ["contoso-toasters.azure-devices.net", "contoso-heatpumps.azure-devices.net"]
}"#;
