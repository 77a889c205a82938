//! A server that follows a script on each connection.

use std::time::Duration;

use dps_websocket::accept_key;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::tls::Identity;
use crate::common::Result;

/// The bytes of a server that sends without end. They are more than a client may keep.
const ENDLESS: usize = 32 * 1024 * 1024;
/// The pause between two bytes of a slow server.
const DRIP: Duration = Duration::from_millis(50);
/// The most bytes that are read at once.
const READ: usize = 64 * 1024;

/// The layer at which the script begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    Tcp,
    Tls,
    /// After a correct upgrade with this subprotocol.
    WebSocket(&'static str),
}

/// A step of a server.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Reads until the client has sent something.
    Read,
    Send(Vec<u8>),
    /// Sends the bytes again and again.
    Endless(Vec<u8>),
    /// Sends the bytes slowly, again and again.
    Drip(Vec<u8>),
    /// Sends bytes that depend on those that were read last.
    Answer(fn(&[u8]) -> Vec<u8>),
    /// Does nothing more, and keeps the connection open.
    Silence,
}

/// The steps of each connection, which is then closed.
#[derive(Debug, Clone)]
pub(crate) struct Script(pub(super) Vec<Act>);

impl Script {
    pub(super) fn is_endless(&self) -> bool {
        self.0.iter().any(|act| matches!(act, Act::Endless(_)))
    }
}

/// A script from steps.
pub(super) fn script(acts: impl IntoIterator<Item = Act>) -> Script {
    Script(acts.into_iter().collect())
}

pub(super) fn send(bytes: impl AsRef<[u8]>) -> Act {
    Act::Send(bytes.as_ref().to_vec())
}

/// A running server. Dropping it ends its connections.
pub(super) struct Server {
    port: u16,
    _accepting: JoinSet<()>,
}

impl Server {
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

pub(super) async fn serve(layer: Layer, script: Script, identity: &Identity) -> Result<Server> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let acceptor = identity.acceptor();
    let mut accepting = JoinSet::new();
    accepting.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, script) = (acceptor.clone(), script.clone());
            connections.spawn(async move {
                // A client may end the connection at any time.
                let _ended = connection(stream, layer, &script, acceptor).await;
            });
            while connections.try_join_next().is_some() {}
        }
    });
    Ok(Server {
        port,
        _accepting: accepting,
    })
}

async fn connection(
    mut stream: TcpStream,
    layer: Layer,
    script: &Script,
    acceptor: tokio_rustls::TlsAcceptor,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    if layer == Layer::Tcp {
        return follow(&mut stream, script).await;
    }
    let mut stream = acceptor.accept(stream).await?;
    if let Layer::WebSocket(subprotocol) = layer {
        let head = read(&mut stream).await?;
        stream
            .write_all(upgrade(&head, subprotocol).as_bytes())
            .await?;
        stream.flush().await?;
    }
    follow(&mut stream, script).await
}

async fn follow<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    script: &Script,
) -> std::io::Result<()> {
    let mut last = Vec::new();
    for act in &script.0 {
        match act {
            Act::Read => last = read(stream).await?,
            Act::Send(bytes) => stream.write_all(bytes).await?,
            Act::Answer(answer) => stream.write_all(&answer(&last)).await?,
            Act::Endless(bytes) => {
                let block = bytes.repeat(READ / bytes.len().max(1) + 1);
                for _ in 0..ENDLESS / block.len() {
                    stream.write_all(&block).await?;
                }
                discard(stream).await;
            }
            Act::Drip(bytes) => {
                for byte in bytes.iter().cycle() {
                    stream.write_all(&[*byte]).await?;
                    stream.flush().await?;
                    sleep(DRIP).await;
                }
            }
            Act::Silence => discard(stream).await,
        }
        stream.flush().await?;
    }
    stream.shutdown().await
}

/// Reads until the client ends the connection.
async fn discard(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; READ];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
}

/// The next bytes of the client.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut buffer = vec![0; READ];
    let length = stream.read(&mut buffer).await?;
    buffer.truncate(length);
    match length {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(buffer),
    }
}

/// The answer to an upgrade, as RFC 6455 has it.
pub(super) fn upgrade(head: &[u8], subprotocol: &str) -> String {
    let head = String::from_utf8_lossy(head);
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key")
            .then(|| value.trim().to_owned())
    });
    let accept = accept_key(key.unwrap_or_default().as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
}
