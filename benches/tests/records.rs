//! The TLS records of a registration in each direction. Each side makes one record of each write, so a write more is a record more.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;

use dps_benches::{Service, TransportKind};
use dps_device::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The records of one side: those of a registration with one poll, and those of each further poll.
type Records = (usize, usize);

/// The records of the device and of the emulator. The handshake is three of the device and four of the emulator, a ticket included.
/// The emulator ends each connection with an alert, and the device only that of HTTPS.
const EXPECTED: [(TransportKind, Records, Records); 5] = [
    // Two requests; two answers.
    (TransportKind::Http, (6, 1), (7, 1)),
    // CONNECT, SUBSCRIBE, two times PUBLISH and PUBACK, DISCONNECT; CONNACK, SUBACK, and two times PUBACK with the answer.
    (TransportKind::Mqtt, (10, 2), (9, 1)),
    // The same and the upgrade; the same, the upgrade, and a close frame.
    (TransportKind::WebSocket, (11, 2), (11, 1)),
    // The SASL header, sasl-init, the opening, flow with the first transfer, the second transfer, a disposition for each answer, close;
    // the SASL header with the mechanisms, the outcome, the opening, two times a disposition with the answer, close.
    (TransportKind::Amqp, (11, 2), (11, 1)),
    // The same and the upgrade; the same, the upgrade, and a close frame.
    (TransportKind::AmqpWebSocket, (12, 2), (13, 1)),
];

/// One thread, so that the order of the tasks does not depend on the load.
#[tokio::test]
async fn a_registration_has_no_more_writes_than_its_protocol_requires() {
    let service = Service::start().await.unwrap();
    let mut counted = Vec::new();
    let mut expected = Vec::new();
    for (transport, device, emulator) in EXPECTED {
        let relay = Relay::start(service.port(transport)).await;
        let who = service.with_key(&format!("toaster-{}", transport.name()));
        let id_scope = service.emulator().id_scope().clone();
        let client = transport.client(relay.port, id_scope, who.unwrap());
        let client = client
            .with_host(Ipv4Addr::LOCALHOST)
            .with_roots(service.roots().clone());
        let mut polls = 0;
        let mut registration = client.register().events();
        while let Some(event) = registration.next().await {
            match event {
                Event::Assigning { .. } => polls += 1,
                Event::Failed(error) => panic!("{error:#}"),
                _ => {}
            }
        }
        drop(registration);
        let with_polls = |(first, further): Records| first + (polls - 1) * further;
        expected.push((transport, with_polls(device), with_polls(emulator)));
        let (device, emulator) = relay.ended().await;
        counted.push((transport, device, emulator));
    }
    assert_eq!(counted, expected, "the records of (device, emulator)");
}

/// Forwards one connection, and counts the records in each direction.
struct Relay {
    port: u16,
    forwarding: JoinHandle<(usize, usize)>,
}

impl Relay {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let forwarding = tokio::spawn(async move {
            let (device, _) = listener.accept().await.unwrap();
            let emulator = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await.unwrap();
            let (from_device, to_device) = device.into_split();
            let (from_emulator, to_emulator) = emulator.into_split();
            tokio::join!(
                forward(from_device, to_emulator),
                forward(from_emulator, to_device)
            )
        });
        Self { port, forwarding }
    }

    /// The records of the device and of the emulator, after both have ended the connection.
    async fn ended(self) -> (usize, usize) {
        self.forwarding.await.unwrap()
    }
}

/// Forwards one direction until it ends, and returns the number of records.
async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> usize {
    let mut records = 0;
    // The type, two bytes of the version, and two of the length.
    let mut header = [0; 5];
    while from.read_exact(&mut header).await.is_ok() {
        records += 1;
        let length = u16::from_be_bytes([header[3], header[4]]);
        let mut record = header.to_vec();
        record.resize(header.len() + usize::from(length), 0);
        from.read_exact(&mut record[header.len()..]).await.unwrap();
        // The side that reads may have closed its end.
        let _ = to.write_all(&record).await;
    }
    let _ = to.shutdown().await;
    records
}
