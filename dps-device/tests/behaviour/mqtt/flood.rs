//! A server that sends without end: memory stays bounded, and the request times out.

use dps_device::ErrorKind;
use tokio::io::AsyncWriteExt;

use super::server::{Server, publish};
#[cfg(feature = "websocket")]
use super::server::{read_head, upgrade};
use super::{MQTT_KINDS, MqttKind, Running, SECOND, client, key};
use crate::pki::Pki;

/// Each ping demands a pong, and the server reads none of them.
#[cfg(all(feature = "websocket", target_os = "linux"))]
#[tokio::test]
async fn pings_of_a_server_that_never_reads_do_not_fill_the_memory() {
    const SENT: usize = 48 * 1024 * 1024;
    const BOUND: usize = 32 * 1024 * 1024;
    let pki = Pki::new();
    let server = Server::start(MqttKind::WebSocket, pki.server(false)).await;
    let client = client(key("my-device"), MqttKind::WebSocket, &pki, server.port())
        .with_request_timeout(60 * SECOND);
    let running = Running::start(&client);

    let mut stream = server.tls().await;
    let head = read_head(&mut stream).await;
    upgrade(&mut stream, &head, "mqtt").await;
    let ping = [&[0x89, 125][..], &[b'x'; 125]].concat();
    let pings = ping.repeat(512);
    let before = resident_bytes();
    for _ in 0..SENT / pings.len() {
        // The client may close the connection, or stop reading.
        let sent = tokio::time::timeout(3 * SECOND, stream.write_all(&pings)).await;
        let growth = resident_bytes().saturating_sub(before);
        assert!(growth < BOUND, "the memory grew by {growth} bytes");
        if !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    running.cancel();
}

/// The memory of this process. Source: proc(5), `statm`, in pages of 4 KiB.
#[cfg(all(feature = "websocket", target_os = "linux"))]
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages = statm.split(' ').nth(1).unwrap();
    pages.parse::<usize>().unwrap() * 4096
}

/// Messages that are not answers do not extend the time of a request.
#[tokio::test]
async fn a_request_times_out_during_a_flood_of_other_messages() {
    for kind in MQTT_KINDS {
        let pki = Pki::new();
        let server = Server::start(*kind, pki.server(false)).await;
        let client =
            client(key("my-device"), *kind, &pki, server.port()).with_request_timeout(2 * SECOND);
        let register = client.register().timeout(2 * SECOND);
        let running = Running(tokio::spawn(register.into_future()));
        let mut peer = server.session().await;
        peer.registration().await;
        let message = publish(
            0x30,
            "$dps/registrations/res/200/?$rid=other",
            b"",
            &[b'x'; 1000],
        );
        let flood = tokio::spawn(async move { while peer.try_send(&message).await {} });
        let error = running.outcome().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline, "{error:?}");
        flood.await.unwrap();
    }
}
