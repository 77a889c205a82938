//! Connections that send nothing, stop in the middle, or never read, on every port: the emulator's memory and files stay below a
//! limit, and other devices and service clients are served meanwhile.

use std::sync::Arc;
use std::time::Duration;

use dps_benches::TransportKind;
use dps_tls::ClientTls;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::common::Result;
use crate::common::emulator::Emulator;
use crate::common::fleet::Fleet;
use crate::common::options::Options;
use crate::common::report::Report;
use crate::common::usage::{highest, mib};

/// The connections of a flood. The emulator's limit for connections that have not authenticated is 2,048 for each port.
const SHORT: usize = 100;
const LONG: usize = 3000;
/// The most memory of a connection, and of everything else that a flood may cause.
const PER_CONNECTION: u64 = 160 * 1024;
const REST: u64 = 64 * 1024 * 1024;
/// The files that the emulator may open in addition to one for each connection.
const FILES: u64 = 64;
/// The longest wait of others. A place for a connection is free again after the longest limit of the emulator, two minutes.
const WAIT: Duration = Duration::from_secs(240);
/// The time in which the emulator closes the files of connections that have ended.
const CLOSING: Duration = Duration::from_secs(120);

/// The behaviour of each connection of a flood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    /// It sends nothing.
    Silent,
    /// It sends half of a TLS record.
    HalfHandshake,
    /// It sends nothing after the TLS handshake.
    SilentAfterTls,
    /// It sends the first bytes of a request.
    HalfRequest,
    /// It sends requests without end, and never reads an answer.
    NeverReads,
}

const BEHAVIOURS: [Behaviour; 5] = [
    Behaviour::Silent,
    Behaviour::HalfHandshake,
    Behaviour::SilentAfterTls,
    Behaviour::HalfRequest,
    Behaviour::NeverReads,
];

/// The ports, by a transport that uses them.
const PORTS: [TransportKind; 3] = [
    TransportKind::Http,
    TransportKind::Mqtt,
    TransportKind::Amqp,
];

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let mut report = Report::default();
    let connections = if options.is_long() { LONG } else { SHORT };
    let dir = tempfile::tempdir()?;
    let emulator = Emulator::start(&["--ephemeral"], &dir.path().join("log")).await?;
    let fleet = Fleet::enroll(&emulator).await?;
    let tls = ClientTls::new(fleet.roots.clone()).build()?;
    let connector = TlsConnector::from(Arc::new(tls));
    let (mut floods, mut opened, mut longest) = (0, 0, Duration::ZERO);
    let (mut memory, mut files) = (0, 0);
    let idle = emulator.usage();
    for behaviour in BEHAVIOURS {
        for transport in PORTS {
            let before = emulator.usage();
            let name = format!("{behaviour:?} at the port of {}", transport.name());
            let mut flood = JoinSet::new();
            for _ in 0..connections {
                let (port, connector) = (emulator.port(transport), connector.clone());
                flood
                    .spawn(async move { connection(port, transport, behaviour, &connector).await });
            }
            // Most of them are at their end state by then.
            sleep(Duration::from_millis(500)).await;
            let others = others(&emulator, &fleet, floods);
            let (waited, usage) = highest(emulator.process_id(), others).await;
            match waited {
                Ok(waited) => longest = longest.max(waited),
                Err(error) => report.fault(format!("{name}: {error:#}")),
            }
            let ceiling = before.memory + connections as u64 * PER_CONNECTION + REST;
            report.check(usage.memory < ceiling, || {
                format!(
                    "{name}: {} of memory, the limit is {}",
                    mib(usage.memory),
                    mib(ceiling)
                )
            });
            let ceiling = before.files + connections as u64 + FILES;
            report.check(usage.files < ceiling, || {
                format!("{name}: {} files, the limit is {ceiling}", usage.files)
            });
            // The others are held in TLS, or end soon.
            let is_held = matches!(behaviour, Behaviour::Silent | Behaviour::HalfHandshake);
            report.check(!is_held || usage.files > connections as u64 / 2, || {
                format!(
                    "{name}: {} files, so most connections were not open",
                    usage.files
                )
            });
            memory = memory.max(usage.memory);
            files = files.max(usage.files);
            opened += flood.len();
            flood.shutdown().await;
            floods += 1;
            let closed = async {
                while emulator.usage().files > idle.files + FILES {
                    sleep(Duration::from_millis(100)).await;
                }
            };
            report.check(timeout(CLOSING, closed).await.is_ok(), || {
                format!("{name}: the files of its connections stay open")
            });
        }
    }
    report.figure("floods", floods);
    report.figure("connections", opened);
    report.figure("the emulator's memory, at most", mib(memory));
    report.figure("the emulator's open files, at most", files);
    report.figure(
        "the longest wait of others",
        format!("{:.1} s", longest.as_secs_f64()),
    );
    Ok(report)
}

/// Registers over each transport, and reads as an operator. Returns the longest wait.
async fn others(emulator: &Emulator, fleet: &Fleet, flood: usize) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for transport in TransportKind::ALL {
        let start = Instant::now();
        let name = format!("good-{flood}-{}", transport.name());
        let registering = fleet.register(&name, transport, emulator.port(transport));
        timeout(WAIT, registering)
            .await
            .map_err(|_| format!("a registration over {} took {WAIT:?}", transport.name()))??;
        longest = longest.max(start.elapsed());
    }
    let start = Instant::now();
    let service = emulator.service()?.with_timeout(WAIT);
    service.enrollment_groups().get(&"fleet".parse()?).await?;
    Ok(longest.max(start.elapsed()))
}

/// One connection, which stays open until its task is dropped.
async fn connection(
    port: u16,
    transport: TransportKind,
    behaviour: Behaviour,
    connector: &TlsConnector,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    match behaviour {
        Behaviour::Silent => return hold(&mut stream).await,
        Behaviour::HalfHandshake => {
            stream.write_all(b"\x16\x03\x01\x02\x00\x01").await?;
            return hold(&mut stream).await;
        }
        _ => {}
    }
    let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
    let mut stream = connector.connect(name, stream).await?;
    match behaviour {
        Behaviour::HalfRequest => {
            let half: &[u8] = match transport {
                TransportKind::Http => b"PUT /0ne00000001/registr",
                TransportKind::Mqtt => b"\x10\x80\x7D\x00\x04MQTT",
                _ => b"AMQP\x03",
            };
            stream.write_all(half).await?;
            stream.flush().await?;
        }
        Behaviour::NeverReads => {
            let requests: &[u8] = match transport {
                TransportKind::Http => b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
                // Pings are not allowed before a CONNECT, so the connection ends.
                TransportKind::Mqtt => b"\xC0\x00",
                _ => b"AMQP\x03\x01\x00\x00",
            };
            let block = requests.repeat(100);
            // It ends when the emulator closes the connection or reads no more.
            while stream.write_all(&block).await.is_ok() {}
            return std::future::pending().await;
        }
        _ => {}
    }
    hold(&mut stream).await
}

/// Reads until the emulator ends the connection.
async fn hold(stream: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<()> {
    while stream.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}
