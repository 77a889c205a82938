//! Direct methods, as a device receives and executes them.

use std::time::Duration;

use dps_emulator::{DirectMethod, Error, ErrorKind, HubHandle, MethodResponse};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::common::{Client, Dps, PINGREQ, PINGRESP, Tls, publish, subscribe, unsubscribe};

const FILTER: &str = "$iothub/methods/POST/#";

async fn listening(dps: &Dps) -> Client<Tls> {
    let mut client = dps.at_hub().await;
    client.send(&subscribe(3, &[(FILTER, 1)])).await;
    client.expect(b"\x90\x03\x00\x03\x01").await;
    client
}

fn invoke(hub: &HubHandle, method: DirectMethod) -> JoinHandle<Result<MethodResponse, Error>> {
    let hub = hub.clone();
    tokio::spawn(async move { hub.invoke_method("dev-1", &method).await })
}

#[tokio::test]
async fn a_method_is_executed_and_its_response_returned() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = listening(&dps).await;
    let method = DirectMethod::new("set speed").payload(json!({ "rpm": 7 }));
    let invoked = invoke(&dps.default_hub(), method);
    let request = client.response().await;
    assert_eq!(request.topic, "$iothub/methods/POST/set%20speed/?$rid=1");
    assert_eq!(request.packet_id, None, "methods have QoS 0");
    assert_eq!(request.json(), json!({ "rpm": 7 }));
    client
        .send(&publish(
            5,
            "$iothub/methods/res/202/?$rid=1",
            b"{\"ok\":true}",
        ))
        .await;
    client.expect(b"\x40\x02\x00\x05").await;
    let response = invoked.await.expect("no panic").expect("a response");
    assert_eq!(response.status, 202);
    assert_eq!(response.payload, json!({ "ok": true }));
}

#[tokio::test]
async fn methods_in_progress_are_distinguished_by_their_request_ids() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = listening(&dps).await;
    let mut invoked = Vec::new();
    for name in ["a", "b"] {
        invoked.push(invoke(&dps.default_hub(), DirectMethod::new(name)));
        let request = client.response().await;
        assert!(
            request.topic.contains(&format!("POST/{name}/?")),
            "{request:?}"
        );
        assert_eq!(request.body, b"null");
    }
    for (rid, status) in [(2, 402), (1, 401)] {
        let topic = format!("$iothub/methods/res/{status}/?$rid={rid}");
        client.send(&publish(5, &topic, b"")).await;
        client.expect(b"\x40\x02\x00\x05").await;
    }
    for (invoked, status) in invoked.into_iter().zip([401, 402]) {
        let response = invoked.await.expect("no panic").expect("a response");
        assert_eq!((response.status, response.payload), (status, Value::Null));
    }
}

#[tokio::test]
async fn a_device_without_a_subscription_is_not_online() {
    let dps = Dps::with_assigned(Value::Null).await;
    let hub = dps.default_hub();
    let kind = async |method: DirectMethod| {
        let refused = hub.invoke_method("dev-1", &method).await;
        refused.expect_err("refused").kind()
    };
    let method = DirectMethod::new("reboot");
    assert_eq!(kind(method.clone()).await, ErrorKind::DeviceNotOnline);
    let mut client = dps.at_hub().await;
    assert_eq!(kind(method.clone()).await, ErrorKind::DeviceNotOnline);
    client.send(&subscribe(3, &[(FILTER, 0)])).await;
    client.expect(b"\x90\x03\x00\x03\x00").await;
    client.send(&unsubscribe(4, &[FILTER])).await;
    client.expect(b"\xb0\x02\x00\x04").await;
    assert_eq!(kind(method).await, ErrorKind::DeviceNotOnline);
    let unknown = hub.invoke_method("dev-2", &DirectMethod::new("x")).await;
    let unknown = unknown.expect_err("no such device");
    assert_eq!(unknown.kind(), ErrorKind::DeviceNotFound);
}

#[tokio::test]
async fn a_caller_can_wait_for_a_device_that_connects_later() {
    let dps = Dps::with_assigned(Value::Null).await;
    let method = DirectMethod::new("reboot").connect_timeout(Duration::from_secs(60));
    let invoked = invoke(&dps.default_hub(), method);
    let mut client = listening(&dps).await;
    client.response().await;
    client
        .send(&publish(5, "$iothub/methods/res/200/?$rid=1", b""))
        .await;
    let response = invoked.await.expect("no panic").expect("a response");
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn a_device_that_does_not_respond_or_is_lost() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = listening(&dps).await;
    let method = DirectMethod::new("reboot").response_timeout(Duration::from_millis(50));
    let invoked = invoke(&dps.default_hub(), method);
    client.response().await;
    let late = invoked.await.expect("no panic").expect_err("no response");
    assert_eq!(late.kind(), ErrorKind::Timeout);
    // A response after the time limit is accepted and dropped.
    client
        .send(&publish(5, "$iothub/methods/res/200/?$rid=1", b""))
        .await;
    client.expect(b"\x40\x02\x00\x05").await;
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;

    let invoked = invoke(&dps.default_hub(), DirectMethod::new("reboot"));
    client.response().await;
    dps.default_hub().disconnect("dev-1");
    let lost = invoked.await.expect("no panic").expect_err("no response");
    assert_eq!(lost.kind(), ErrorKind::DeviceNotOnline);
}

#[tokio::test]
async fn a_method_that_is_not_valid_is_refused() {
    let dps = Dps::with_assigned(Value::Null).await;
    for method in [
        DirectMethod::new(""),
        DirectMethod::new("x".repeat(101)),
        DirectMethod::new("x").payload("y".repeat(128 * 1024 - 1)),
    ] {
        let refused = dps.default_hub().invoke_method("dev-1", &method).await;
        let kind = refused.expect_err("refused").kind();
        assert_eq!(kind, ErrorKind::InvalidMessage, "{method:?}");
    }
}

#[tokio::test]
async fn a_response_that_is_not_json_ends_the_connection() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = listening(&dps).await;
    let invoked = invoke(&dps.default_hub(), DirectMethod::new("reboot"));
    client.response().await;
    client
        .send(&publish(5, "$iothub/methods/res/200/?$rid=1", b"{"))
        .await;
    client.closed().await;
    let lost = invoked.await.expect("no panic").expect_err("no response");
    assert_eq!(lost.kind(), ErrorKind::DeviceNotOnline);
}
