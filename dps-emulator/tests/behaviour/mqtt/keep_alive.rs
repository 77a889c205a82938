//! Keep-alive: a client that sends nothing for one and a half times as long is disconnected (MQTT-3.1.2-24).

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::common::{Connect, DISCONNECT, Dps, KEY_1, PINGREQ, PINGRESP};

#[tokio::test]
async fn a_ping_is_answered() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt().await;
    client.connect(&Connect::with_key("dev-1", KEY_1)).await;
    client.send(&PINGREQ.repeat(3)).await;
    client.expect(&PINGRESP.repeat(3)).await;
}

#[tokio::test]
async fn a_silent_client_is_disconnected() {
    let dps = Dps::with_device().await;
    let connect = Connect::with_key("dev-1", KEY_1).keep_alive(1);
    let mut client = dps.mqtt().await;
    let begin = Instant::now();
    client.connect(&connect).await;
    timeout(Duration::from_secs(5), client.closed())
        .await
        .expect("closed");
    assert!(begin.elapsed() >= Duration::from_millis(1500));
}

#[tokio::test]
async fn half_a_packet_is_not_answered() {
    let dps = Dps::with_device().await;
    let connect = Connect::with_key("dev-1", KEY_1).keep_alive(1);
    let mut client = dps.websocket().await;
    client.connect(&connect).await;
    client.send(&[0x32, 0x20, 0x00]).await;
    timeout(Duration::from_secs(5), client.closed())
        .await
        .expect("closed");
}

#[tokio::test]
async fn pings_keep_a_connection() {
    let dps = Dps::with_device().await;
    let connect = Connect::with_key("dev-1", KEY_1).keep_alive(2);
    let mut client = dps.mqtt().await;
    client.connect(&connect).await;
    for _ in 0..10 {
        sleep(Duration::from_millis(400)).await;
        client.send(PINGREQ).await;
        client.expect(PINGRESP).await;
    }
}

#[tokio::test]
async fn a_disconnect_ends_it() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    client.send(DISCONNECT).await;
    client.closed().await;
    let mut client = dps.connected_websocket("dev-1").await;
    client.send(DISCONNECT).await;
    client.closed().await;
}
