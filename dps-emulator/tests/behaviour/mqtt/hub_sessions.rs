//! Sessions at a hub: a client that connects with clean session 0 keeps its subscriptions.

use dps_emulator::{CloudToDeviceMessage, DirectMethod, ErrorKind};
use serde_json::{Value, json};

use crate::common::{
    Client, Connect, DESIRED, DISCONNECT, Dps, KEY_1, PINGREQ, PINGRESP, Tls, publish, subscribe,
    unsubscribe,
};

const MESSAGES: &str = "devices/dev-1/messages/devicebound/#";
const METHODS: &str = "$iothub/methods/POST/#";

/// Connects, and asserts whether an earlier session continues.
async fn connect(dps: &Dps, clean_session: bool, resumed: u8) -> Client<Tls> {
    let mut client = dps.mqtt().await;
    let connect = Connect {
        clean_session,
        ..Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1)
    };
    client.send(&connect.bytes()).await;
    client.expect(&[0x20, 0x02, resumed, 0x00]).await;
    client
}

async fn listen(client: &mut Client<Tls>, filters: &[&str]) {
    let filters: Vec<_> = filters.iter().map(|filter| (*filter, 1)).collect();
    client.send(&subscribe(3, &filters)).await;
    let (first, body) = client.packet().await;
    assert_eq!((first, &body[2..]), (0x90, &vec![1; filters.len()][..]));
}

#[tokio::test]
async fn subscriptions_are_kept() {
    let dps = Dps::with_assigned(Value::Null).await;
    let hub = dps.default_hub();
    let mut client = connect(&dps, false, 0).await;
    listen(&mut client, &[MESSAGES, METHODS, DESIRED]).await;
    client.send(DISCONNECT).await;
    client.closed().await;
    let message = CloudToDeviceMessage::new("while away");
    hub.send_message("dev-1", &message).await.expect("queued");

    let mut client = connect(&dps, false, 1).await;
    assert_eq!(client.response().await.body, b"while away");
    hub.update_desired("dev-1", json!({ "x": 1 }))
        .await
        .expect("patched");
    assert_eq!(
        client.response().await.json(),
        json!({ "x": 1, "$version": 2 })
    );
    let reboot = DirectMethod::new("reboot");
    let (response, ()) = tokio::join!(hub.invoke_method("dev-1", &reboot), async {
        client.response().await;
        let topic = "$iothub/methods/res/200/?$rid=1";
        client.send(&publish(4, topic, b"")).await;
        client.expect(b"\x40\x02\x00\x04").await;
    });
    assert_eq!(response.expect("a response").status, 200);
}

#[tokio::test]
async fn a_clean_session_ends_the_earlier_one() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = connect(&dps, false, 0).await;
    listen(&mut client, &[MESSAGES, METHODS]).await;
    let mut client = connect(&dps, true, 0).await;
    let message = CloudToDeviceMessage::new("x");
    let queued = dps.default_hub().send_message("dev-1", &message).await;
    queued.expect("queued");
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
    let refused = dps
        .default_hub()
        .invoke_method("dev-1", &DirectMethod::new("reboot"))
        .await;
    let kind = refused.expect_err("no subscription").kind();
    assert_eq!(kind, ErrorKind::DeviceNotOnline);
    listen(&mut client, &[METHODS]).await;
    // A clean session is not kept.
    connect(&dps, false, 0).await;
}

#[tokio::test]
async fn a_subscription_that_was_given_up_is_not_kept() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = connect(&dps, false, 0).await;
    listen(&mut client, &[MESSAGES, METHODS]).await;
    client.send(&unsubscribe(4, &[MESSAGES])).await;
    client.expect(b"\xb0\x02\x00\x04").await;
    let mut client = connect(&dps, false, 1).await;
    let message = CloudToDeviceMessage::new("x");
    let queued = dps.default_hub().send_message("dev-1", &message).await;
    queued.expect("queued");
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
}

#[tokio::test]
async fn a_session_ends_with_its_device() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = connect(&dps, false, 0).await;
    listen(&mut client, &[MESSAGES]).await;
    dps.default_hub().remove("dev-1").await.expect("removed");
    client.closed().await;
    dps.still_serves().await;
    connect(&dps, false, 0).await;
}
