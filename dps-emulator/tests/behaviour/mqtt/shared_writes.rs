//! The writes of the emulator, counted as TLS records: an acknowledgement and an answer that is ready are one write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dps_emulator::fault::{Effect, Fault, Step};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::common::{
    Client, Connect, Dps, FILTER, GET, KEY_1, REGISTER, RESPONSES, STATUS, Tls, connect, publish,
    subscribe, tls,
};

/// Forwards one connection, and counts the records of the emulator.
struct Relay {
    port: u16,
    records: Arc<AtomicUsize>,
    _forwarding: JoinHandle<()>,
}

impl Relay {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let records = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&records);
        let forwarding = tokio::spawn(async move {
            let (device, _) = listener.accept().await.expect("a connection");
            let emulator = TcpStream::connect(("127.0.0.1", to)).await;
            let (mut from_device, to_device) = device.into_split();
            let (from_emulator, mut to_emulator) = emulator.expect("it listens").into_split();
            tokio::select! {
                _ = tokio::io::copy(&mut from_device, &mut to_emulator) => {}
                () = count(from_emulator, to_device, &counter) => {}
            }
        });
        Self {
            port,
            records,
            _forwarding: forwarding,
        }
    }

    async fn device(&self, dps: &Dps) -> Client<Tls> {
        let stream = connect(self.port, tls(dps.emulator.ca_pem(), None)).await;
        Client::over(stream.expect("TLS"))
    }

    /// The records since the last call.
    fn records(&self) -> usize {
        self.records.swap(0, Ordering::SeqCst)
    }
}

async fn count(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, records: &AtomicUsize) {
    // The type, two bytes of the version, and two of the length.
    let mut record = vec![0; 5];
    while from.read_exact(&mut record).await.is_ok() {
        let length = u16::from_be_bytes([record[3], record[4]]);
        record.resize(5 + usize::from(length), 0);
        from.read_exact(&mut record[5..]).await.expect("a record");
        records.fetch_add(1, Ordering::SeqCst);
        // The device may have closed the connection.
        let _ = to.write_all(&record).await;
        record.resize(5, 0);
    }
}

#[tokio::test]
async fn a_registration_has_one_write_for_each_packet_of_the_device() {
    let dps = Dps::with_device().await;
    let relay = Relay::start(dps.emulator.mqtt_port()).await;
    let mut device = relay.device(&dps).await;
    device.connect(&Connect::with_key("dev-1", KEY_1)).await;
    relay.records();
    device.subscribe().await;
    assert_eq!(relay.records(), 1, "SUBACK");
    let operation = device.register(b"{}").await;
    assert_eq!(relay.records(), 1, "PUBACK and the answer");
    let poll = format!("{STATUS}p&operationId={operation}");
    device.ask(&poll, b" ").await;
    assert_eq!(relay.records(), 1, "PUBACK and the answer of a poll");
}

#[tokio::test]
async fn an_answer_that_is_not_ready_does_not_delay_its_acknowledgement() {
    let dps = Dps::with_device().await;
    let relay = Relay::start(dps.emulator.mqtt_port()).await;
    let mut device = relay.device(&dps).await;
    device.connect(&Connect::with_key("dev-1", KEY_1)).await;
    device.send(&subscribe(1, &[(FILTER, 1)])).await;
    device.expect(b"\x90\x03\x00\x01\x01").await;
    relay.records();
    let slow = Effect::Delay(Duration::from_secs(3600));
    dps.emulator.faults().next(Fault::new(Step::Register, slow));
    let register = publish(7, &format!("{REGISTER}1"), b"{}");
    device.send(&register).await;
    device.expect(b"\x40\x02\x00\x07").await;
    assert_eq!(relay.records(), 1, "PUBACK alone");
}

#[tokio::test]
async fn a_request_to_a_hub_has_one_write() {
    let dps = Dps::with_assigned(json!({})).await;
    let relay = Relay::start(dps.emulator.mqtt_port()).await;
    let mut device = relay.device(&dps).await;
    let connect = Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1);
    device.connect(&connect).await;
    device.listen(RESPONSES).await;
    relay.records();
    let twin = device.ask(&format!("{GET}1"), b" ").await;
    assert_eq!(twin.topic, "$iothub/twin/res/200/?$rid=1");
    assert_eq!(relay.records(), 1, "PUBACK and the twin");
    let topic = "devices/dev-1/messages/events/";
    device.send(&publish(8, topic, b"hello")).await;
    device.expect(b"\x40\x02\x00\x08").await;
    assert_eq!(relay.records(), 1, "PUBACK");
}
