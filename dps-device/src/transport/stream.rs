//! A TLS stream to the service, through a proxy if there is one.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::endpoint::Endpoint;
use super::error::TransportError;
use super::{tls_failure, tunnel};
use crate::attestation::identity::ClientIdentity;
use crate::error::ErrorKind;

/// A byte stream that carries MQTT or AMQP.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects. The caller sets a time limit.
pub(super) async fn connect(
    endpoint: &Endpoint,
    port: u16,
    identity: Option<&ClientIdentity>,
) -> Result<Box<dyn Stream>, TransportError> {
    let name = endpoint.host.for_tls()?;
    let config = endpoint.client_config(identity)?;
    let stream = match &endpoint.proxy {
        Some(proxy) => {
            let stream = connect_tcp(proxy.host(), proxy.port()).await?;
            tunnel::connect(stream, proxy, &endpoint.host, port).await?
        }
        None => connect_tcp(endpoint.host.as_str(), port).await?,
    };
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(failure)?;
    Ok(Box::new(stream))
}

async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, TransportError> {
    let stream = TcpStream::connect((host, port)).await.map_err(failure)?;
    // Packets are small, and the device waits for an answer after each.
    stream.set_nodelay(true).map_err(failure)?;
    Ok(stream)
}

fn failure(error: io::Error) -> TransportError {
    let (kind, what) = tls_failure::describe(&error)
        .unwrap_or_else(|| (ErrorKind::Connect, "the connection failed".into()));
    TransportError::new(kind, what).with_source(error)
}
