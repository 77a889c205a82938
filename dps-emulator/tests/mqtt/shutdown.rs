//! The end of an emulator is the end of its connections.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{
    Connect, DISCONNECT, Dps, KEY_1, NOT_AUTHORIZED, PATIENCE, PINGREQ, STATUS, Tls,
    publish_at_most_once,
};

/// Less than the emulator gives requests under way: nobody here has to be cut.
const PROMPTLY: Duration = Duration::from_secs(4);

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
    let mut idle = dps.device("dev-1").await;
    let mut forever = dps.mqtt().await;
    let connect = Connect::with_key("dev-1", KEY_1).keep_alive(0);
    forever.connect(&connect).await;
    let mut upgraded = dps.websocket().await;
    let mut websocket = dps.connected_websocket("dev-1").await;

    timeout(PROMPTLY, dps.emulator.shutdown())
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
async fn dropping_the_emulator_closes_too() {
    let dps = Dps::with_device().await;
    let mut mqtt = dps.device("dev-1").await;
    let mut websocket = dps.connected_websocket("dev-1").await;
    drop(dps);
    mqtt.closed().await;
    websocket.closed().await;
}

/// TLS says that this is the end: otherwise it could be an attacker who cut the stream.
async fn assert_orderly_end(mut tls: Tls) {
    let read = timeout(PATIENCE, tls.read(&mut [0; 16])).await;
    assert_eq!(read.expect("an end").expect("not an accident"), 0);
}

#[tokio::test]
async fn however_it_ends_tls_is_closed_in_order() {
    let dps = Dps::with_device().await;
    let mut refused = dps.mqtt().await;
    refused.send(&Connect::of("dev-1").bytes()).await;
    refused.expect(NOT_AUTHORIZED).await;
    assert_orderly_end(refused.carrier).await;

    let mut early = dps.mqtt().await;
    early.send(PINGREQ).await;
    assert_orderly_end(early.carrier).await;

    let mut done = dps.device("dev-1").await;
    done.send(DISCONNECT).await;
    assert_orderly_end(done.carrier).await;

    let mut malformed = dps.device("dev-1").await;
    malformed.send(b"\xF0\x00").await;
    assert_orderly_end(malformed.carrier).await;

    let idle = dps.device("dev-1").await;
    dps.emulator.shutdown().await;
    assert_orderly_end(idle.carrier).await;
}

/// Its requests are carried out, but it holds nobody up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_does_not_keep_the_emulator_from_ending() {
    let dps = Dps::with_device().await;
    let mut deaf = dps.device("dev-1").await;
    let unknown = format!("{STATUS}x&operationId={}", "0".repeat(200));
    let request = publish_at_most_once(&unknown, b" ").repeat(1000);
    // Until neither side has room for more.
    while timeout(Duration::from_millis(500), deaf.carrier.write_all(&request))
        .await
        .is_ok()
    {}
    dps.still_serves().await;
    timeout(PATIENCE, dps.emulator.shutdown())
        .await
        .expect("stopped");
}
