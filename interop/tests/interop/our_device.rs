//! Our device client at a hub, driven by a back end with Microsoft's `azure-iot-hub` for Python.

use std::time::Duration;

use dps_device::{
    DeviceEvent, DeviceEvents, DeviceHandle, Host, Http, HubEndpoint, HubTransport, Message,
    ProvisioningClient, Roots, SymmetricKeyAttestation,
};
use dps_types::{HubHostname, SymmetricKey};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::emulator::{Emulator, HTTPS_PORT, LOCALHOST};
use crate::hub::HubOperator;

/// Keys of 32 bytes.
const KEY_1: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const KEY_2: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=";

/// Longer than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

fn attestation(key: &str) -> SymmetricKeyAttestation {
    let key = SymmetricKey::from_base64(key).expect("a key");
    SymmetricKeyAttestation::new("dev-1".parse().expect("an id"), key)
}

/// The device `dev-1` of the hub, which a back end has created.
async fn start(transport: HubTransport) -> (Emulator, HubOperator, HubEndpoint) {
    let emulator = Emulator::start_with(HTTPS_PORT, &["--hub", LOCALHOST]).await;
    let mut operator = HubOperator::start(&emulator, LOCALHOST);
    let create = json!({ "do": "create", "id": "dev-1", "primary": KEY_1, "secondary": KEY_2 });
    operator.ask(create).await.expect("a device");
    let scope = emulator.id_scope().parse().expect("an id scope");
    let client = ProvisioningClient::new(scope, attestation(KEY_1), Http::default());
    let hub: HubHostname = LOCALHOST.parse().expect("a host name");
    let endpoint = client
        .hub_at(hub, "dev-1".parse().expect("an id"))
        .with_host(Host::LOCALHOST)
        .with_roots(Roots::from_pem_file(emulator.ca_pem()).expect("the emulator's root"))
        .with_transport(transport);
    (emulator, operator, endpoint)
}

async fn connected(endpoint: &HubEndpoint) -> (DeviceHandle, DeviceEvents) {
    let (handle, mut events) = endpoint.connect();
    let connected = async {
        loop {
            match events.next().await.expect("the connection is open") {
                DeviceEvent::Connected(_) => break,
                DeviceEvent::Failed { error, .. } => panic!("{error:#}"),
                _ => {}
            }
        }
    };
    timeout(DEADLINE, connected).await.expect("it connects");
    (handle, events)
}

/// Responds to the next method, and returns its payload.
async fn execute(events: &mut DeviceEvents) -> Value {
    loop {
        if let DeviceEvent::Method(method) = events.next().await.expect("an event") {
            assert_eq!(method.name(), "echo");
            let payload: Value = method.parse().expect("JSON");
            let response = json!({ "echo": payload });
            method.respond(207, &response).expect("it is sent");
            return payload;
        }
    }
}

/// The back end invokes a method while the device drives its connection.
async fn invoke(operator: &mut HubOperator, events: &mut DeviceEvents, module: Option<&str>) {
    let mut invoke =
        json!({ "do": "invoke", "id": "dev-1", "method": "echo", "payload": { "n": [1, "ü"] } });
    if let Some(module) = module {
        invoke["module"] = module.into();
    }
    let device = async {
        let payload = execute(events).await;
        // The response is sent while the connection is driven.
        events.drive(std::future::pending::<()>()).await;
        payload
    };
    let response = tokio::select! {
        response = operator.ask(invoke) => response.expect("a response"),
        _ = device => unreachable!("the device drives its connection"),
    };
    let expected = json!({ "status": 207, "payload": { "echo": { "n": [1, "ü"] } } });
    assert_eq!(response, expected);
}

/// A device sends telemetry, responds to a method, follows its twin, and receives a message.
pub(crate) async fn device(transport: impl Into<HubTransport>) {
    let (emulator, mut operator, endpoint) = start(transport.into()).await;
    let (handle, mut events) = connected(&endpoint).await;
    let message = Message::new("{\"t\":21}").with_property("alarm", "yes & no");
    let sent = events.drive(handle.send(message)).await;
    sent.expect("the hub accepts telemetry");
    invoke(&mut operator, &mut events, None).await;

    let reported = events.drive(handle.report(json!({ "temperature": 21 })));
    reported.await.expect("the hub accepts the report");
    let twin = operator.twin("dev-1").await.expect("a twin");
    assert_eq!(twin["connectionState"], "Connected", "{twin}");
    assert_eq!(twin["properties"]["reported"]["temperature"], 21, "{twin}");
    let patch = json!({ "properties": { "desired": { "darkness": "high" } } });
    let patched = operator.patch("dev-1", &patch, "*").await;
    patched.expect("patched");
    let desired = async {
        loop {
            match events.next().await.expect("an event") {
                DeviceEvent::Desired(change) => break change,
                DeviceEvent::Twin(twin) if twin.desired.get("darkness").is_some() => {
                    break twin.desired.clone();
                }
                _ => {}
            }
        }
    };
    let desired = timeout(DEADLINE, desired).await.expect("it is informed");
    assert_eq!(desired.get("darkness"), Some(&json!("high")));

    let message = json!({
        "do": "message", "id": "dev-1", "body": "turn on", "messageId": "m/1", "properties": { "site": "north & south" },
    });
    operator.ask(message).await.expect("sent");
    let received = async {
        loop {
            if let DeviceEvent::Message(message) = events.next().await.expect("an event") {
                let message = message.message();
                assert_eq!(message.payload(), b"turn on");
                assert_eq!(message.message_id(), Some("m/1"));
                assert_eq!(message.property("site"), Some("north & south"));
                break;
            }
        }
    };
    timeout(DEADLINE, received).await.expect("it is received");
    let feedback = events
        .drive(operator.ask(json!({ "do": "feedback" })))
        .await;
    let feedback = feedback.expect("feedback");
    assert_eq!(feedback[0]["statusCode"], "Success", "{feedback}");
    events.drive(handle.close(DEADLINE)).await;
    emulator.stop().await;
}

/// A module responds to a method and reports properties.
pub(crate) async fn module(transport: impl Into<HubTransport>) {
    let (emulator, mut operator, endpoint) = start(transport.into()).await;
    let create = json!({ "do": "createModule", "id": "dev-1", "module": "mod-1", "primary": KEY_2, "secondary": KEY_1 });
    operator.ask(create).await.expect("a module");
    let module = "mod-1".parse().expect("an id");
    let endpoint = endpoint.with_module(module, attestation(KEY_2));
    let (handle, mut events) = connected(&endpoint).await;
    invoke(&mut operator, &mut events, Some("mod-1")).await;
    let reported = events.drive(handle.report(json!({ "temperature": 21 })));
    reported.await.expect("the hub accepts the report");
    events.drive(handle.close(DEADLINE)).await;
    emulator.stop().await;
}
