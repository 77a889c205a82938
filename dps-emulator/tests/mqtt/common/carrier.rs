//! What MQTT's bytes travel on: TLS as it is, or WebSocket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::PATIENCE;

pub(crate) type Tls = TlsStream<TcpStream>;

/// Bytes there and bytes back.
pub(crate) trait Carrier {
    /// Sends; that the other side has closed meanwhile is for the next read to tell.
    async fn send(&mut self, bytes: &[u8]);

    /// Some more bytes, or `None` when the other side has closed.
    async fn receive(&mut self) -> Option<Vec<u8>>;
}

impl Carrier for Tls {
    async fn send(&mut self, bytes: &[u8]) {
        let sent = async {
            self.write_all(bytes).await?;
            self.flush().await
        };
        let _ = timeout(PATIENCE, sent).await.expect("sent in time");
    }

    async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 4096];
        let read = timeout(PATIENCE, self.read(&mut bytes)).await;
        match read.expect("an answer, or the end") {
            Ok(0) | Err(_) => None,
            Ok(length) => Some(bytes[..length].to_vec()),
        }
    }
}
