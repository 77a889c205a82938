//! A server between a device and a real emulator, which passes on some of the emulator's answers and then fails in another way.
//!
//! This reaches every state of every transport, with bytes that are correct until then.

use std::sync::Arc;
use std::time::Duration;

use dps_benches::TransportKind;
use dps_tls::ClientTls;
use futures_util::{StreamExt, stream};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::tls::Identity;
use crate::common::Result;
use crate::common::emulator::Emulator;
use crate::common::fleet::{Fleet, Outcome, outcome};
use crate::common::options::Options;
use crate::common::random::Random;
use crate::common::report::Report;

/// The registrations at the same time.
const CONCURRENCY: usize = 32;
const REQUEST: Duration = Duration::from_secs(2);
const REGISTRATION: Duration = Duration::from_secs(4);
/// The rounds of the short form. Each has other random bytes.
const SHORT_ROUNDS: usize = 1;
/// The most bytes that are sent in place of an answer.
const FLOOD: usize = 4 * 1024 * 1024;

/// The fault of the server in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instead {
    Close,
    Silence,
    Zeros,
    Ones,
    RandomBytes(u64),
    /// The answer with one bit flipped.
    FlippedBit(u64),
    /// The answer twice.
    Twice,
    /// The answer without its last byte, then silence.
    Shortened,
}

/// A server that fails after this number of answers of the emulator.
#[derive(Debug, Clone, Copy)]
struct Failure {
    transport: TransportKind,
    after: usize,
    instead: Instead,
}

pub(super) async fn run(options: &Options, identity: &Identity) -> Result<Report> {
    let options = options.started(1);
    let mut report = Report::default();
    let mut random = options.random();
    let dir = tempfile::tempdir()?;
    let emulator = Emulator::start(&["--ephemeral"], &dir.path().join("log")).await?;
    let mut fleet = Fleet::enroll(&emulator).await?;
    let tls = ClientTls::new(fleet.roots.clone()).build()?;
    let connector = TlsConnector::from(Arc::new(tls));
    fleet.roots = identity.roots()?;
    let (mut done, mut assigned) = (0, 0);
    for round in 0.. {
        if !options.goes_on(round, SHORT_ROUNDS) {
            break;
        }
        let mut all = Vec::new();
        for transport in TransportKind::ALL {
            for after in 0..answers(transport) {
                all.extend(instead(&mut random).map(|instead| Failure {
                    transport,
                    after,
                    instead,
                }));
            }
        }
        let running = all.into_iter().enumerate().map(|(number, failure)| {
            let name = format!("behind-{round}-{number}");
            one(&emulator, &fleet, identity, &connector, failure, name)
        });
        let mut running = stream::iter(running).buffer_unordered(CONCURRENCY);
        while let Some(result) = running.next().await {
            let (failure, outcome) = result?;
            done += 1;
            match outcome {
                // A flipped bit may be in a part that is not used.
                Outcome::Assigned => assigned += 1,
                Outcome::Failed { .. } => {}
                other => report.fault(format!("{failure:?}: {other:?}")),
            }
        }
    }
    report.figure("registrations", done);
    report.figure("assigned nevertheless", assigned);
    Ok(report)
}

fn instead(random: &mut Random) -> [Instead; 8] {
    [
        Instead::Close,
        Instead::Silence,
        Instead::Zeros,
        Instead::Ones,
        Instead::RandomBytes(random.next()),
        Instead::FlippedBit(random.next()),
        Instead::Twice,
        Instead::Shortened,
    ]
}

/// The answers of a server in a registration, about.
fn answers(transport: TransportKind) -> usize {
    match transport {
        TransportKind::Http => 2,
        TransportKind::Mqtt => 5,
        TransportKind::WebSocket => 6,
        TransportKind::Amqp => 8,
        _ => 9,
    }
}

async fn one(
    emulator: &Emulator,
    fleet: &Fleet,
    identity: &Identity,
    connector: &TlsConnector,
    failure: Failure,
    name: String,
) -> Result<(Failure, Outcome)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let target = emulator.port(failure.transport);
    let (acceptor, connector) = (identity.acceptor(), connector.clone());
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, connector) = (acceptor.clone(), connector.clone());
            connections.spawn(async move {
                // A client may end the connection at any time.
                let _ended = pass(stream, target, &acceptor, &connector, failure).await;
            });
        }
    });
    let client = fleet
        .client(&name, failure.transport, port)?
        .with_request_timeout(REQUEST);
    Ok((failure, outcome(&client, REGISTRATION).await))
}

async fn pass(
    stream: TcpStream,
    target: u16,
    acceptor: &TlsAcceptor,
    connector: &TlsConnector,
    failure: Failure,
) -> std::io::Result<()> {
    let client = acceptor.accept(stream).await?;
    let server = TcpStream::connect(("127.0.0.1", target)).await?;
    let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
    let server = connector.connect(name, server).await?;
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from_client.read(&mut buffer).await?;
            if length == 0 {
                return Ok::<(), std::io::Error>(());
            }
            to_server.write_all(&buffer[..length]).await?;
            to_server.flush().await?;
        }
    };
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        for number in 0.. {
            let length = from_server.read(&mut buffer).await?;
            let answer = &buffer[..length];
            if length == 0 {
                return Ok(());
            }
            if number == failure.after {
                fail(&mut to_client, answer, failure.instead).await?;
            } else {
                to_client.write_all(answer).await?;
            }
            to_client.flush().await?;
        }
        Ok::<(), std::io::Error>(())
    };
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}

async fn fail(
    to: &mut (impl AsyncWriteExt + Unpin),
    answer: &[u8],
    instead: Instead,
) -> std::io::Result<()> {
    let silence = std::future::pending::<std::io::Result<()>>();
    match instead {
        Instead::Close => {
            to.shutdown().await?;
            Err(std::io::ErrorKind::ConnectionAborted.into())
        }
        Instead::Silence => silence.await,
        Instead::Zeros => flood(to, &[0; 4096]).await,
        Instead::Ones => flood(to, &[0xFF; 4096]).await,
        Instead::RandomBytes(seed) => {
            let mut random = Random::new(seed);
            let bytes: Vec<u8> = (0..4096).map(|_| random.next() as u8).collect();
            flood(to, &bytes).await
        }
        Instead::FlippedBit(seed) => {
            let mut bytes = answer.to_vec();
            let bit = seed % (bytes.len() as u64 * 8);
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
            to.write_all(&bytes).await
        }
        Instead::Twice => {
            to.write_all(answer).await?;
            to.write_all(answer).await
        }
        Instead::Shortened => {
            to.write_all(&answer[..answer.len() - 1]).await?;
            to.flush().await?;
            silence.await
        }
    }
}

async fn flood(to: &mut (impl AsyncWriteExt + Unpin), block: &[u8]) -> std::io::Result<()> {
    for _ in 0..FLOOD / block.len() {
        to.write_all(block).await?;
    }
    to.flush().await?;
    std::future::pending().await
}
