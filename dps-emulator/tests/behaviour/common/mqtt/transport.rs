//! The transport below MQTT: TLS, or WebSocket over TLS.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::common::TIMEOUT;

/// A stream of bytes in both directions.
pub(crate) trait Transport {
    /// Sends the bytes. If the peer has closed the connection, the next read reports it.
    async fn send(&mut self, bytes: &[u8]);

    /// Returns the next bytes, or `None` if the peer has closed the connection.
    async fn receive(&mut self) -> Option<Vec<u8>>;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for S {
    async fn send(&mut self, bytes: &[u8]) {
        let sent = async {
            self.write_all(bytes).await?;
            self.flush().await
        };
        let _ = timeout(TIMEOUT, sent).await.expect("sent in time");
    }

    async fn receive(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 4096];
        let read = timeout(TIMEOUT, self.read(&mut bytes)).await;
        match read.expect("an answer, or the end") {
            Ok(0) | Err(_) => None,
            Ok(length) => Some(bytes[..length].to_vec()),
        }
    }
}
