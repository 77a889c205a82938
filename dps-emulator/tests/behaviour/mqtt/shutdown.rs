//! An emulator that ends closes its connections.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{
    Connect, DISCONNECT, Dps, KEY_1, NOT_AUTHORIZED, PINGREQ, STATUS, TIMEOUT, Tls,
    publish_at_most_once,
};

/// Less than the time that a shutdown waits for requests in progress: no connection here has to be cut.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(4);

#[tokio::test]
async fn connections_in_every_state_are_closed_promptly() {
    let dps = Dps::with_device().await;
    let port = dps.emulator.mqtt_port();
    let tcp = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("connected");
    let mut silent = dps.mqtt().await;
    let mut half = dps.mqtt().await;
    half.send(&Connect::with_key("dev-1", KEY_1).bytes()[..20])
        .await;
    let mut idle = dps.mqtt_device("dev-1").await;
    let mut forever = dps.mqtt().await;
    let connect = Connect::with_key("dev-1", KEY_1).keep_alive(0);
    forever.connect(&connect).await;
    let mut upgraded = dps.websocket().await;
    let mut websocket = dps.connected_websocket("dev-1").await;

    timeout(SHUTDOWN_TIMEOUT, dps.emulator.shutdown())
        .await
        .expect("stopped");
    silent.closed().await;
    half.closed().await;
    idle.closed().await;
    forever.closed().await;
    upgraded.closed().await;
    websocket.closed().await;
    drop(tcp);
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn dropping_the_emulator_closes_its_connections() {
    let dps = Dps::with_device().await;
    let mut mqtt = dps.mqtt_device("dev-1").await;
    let mut websocket = dps.connected_websocket("dev-1").await;
    drop(dps);
    mqtt.closed().await;
    websocket.closed().await;
}

/// Asserts that the server sends a TLS close_notify. Without it, the stream could have been cut by an attacker.
async fn assert_orderly_end(mut tls: Tls) {
    let read = timeout(TIMEOUT, tls.read(&mut [0; 16])).await;
    assert_eq!(read.expect("an end").expect("a close_notify"), 0);
}

#[tokio::test]
async fn tls_is_closed_in_order_in_every_case() {
    let dps = Dps::with_device().await;
    let mut refused = dps.mqtt().await;
    refused.send(&Connect::of("dev-1").bytes()).await;
    refused.expect(NOT_AUTHORIZED).await;
    assert_orderly_end(refused.transport).await;

    let mut early = dps.mqtt().await;
    early.send(PINGREQ).await;
    assert_orderly_end(early.transport).await;

    let mut done = dps.mqtt_device("dev-1").await;
    done.send(DISCONNECT).await;
    assert_orderly_end(done.transport).await;

    let mut malformed = dps.mqtt_device("dev-1").await;
    malformed.send(b"\xF0\x00").await;
    assert_orderly_end(malformed.transport).await;

    let idle = dps.mqtt_device("dev-1").await;
    dps.emulator.shutdown().await;
    assert_orderly_end(idle.transport).await;
}

/// Its requests are carried out, and it does not delay others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_does_not_keep_the_emulator_from_stopping() {
    let dps = Dps::with_device().await;
    let mut deaf = dps.mqtt_device("dev-1").await;
    let unknown = format!("{STATUS}x&operationId={}", "0".repeat(200));
    let request = publish_at_most_once(&unknown, b" ").repeat(1000);
    // Until the buffers of both sides are full.
    while timeout(
        Duration::from_millis(500),
        deaf.transport.write_all(&request),
    )
    .await
    .is_ok()
    {}
    dps.still_serves().await;
    timeout(TIMEOUT, dps.emulator.shutdown())
        .await
        .expect("stopped");
}
