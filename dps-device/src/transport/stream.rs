//! A secure stream to the service: TCP, through a proxy where there is one, and TLS in it.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::endpoint::Endpoint;
use super::mqtt_connection::Stream;
use super::{TransportError, tls_failure, tunnel};
use crate::attestation::ClientIdentity;
use crate::error::ErrorKind;

/// Connects. Whoever calls sets a time limit.
pub(super) async fn connect(
    endpoint: &Endpoint,
    port: u16,
    identity: Option<&ClientIdentity>,
) -> Result<Box<dyn Stream>, TransportError> {
    let host = unbracketed(endpoint.host());
    let name = ServerName::try_from(host.to_owned()).map_err(|error| {
        TransportError::new(
            ErrorKind::InvalidConfiguration,
            format!("{:?} is not a host name", endpoint.host()),
        )
        .with_source(error)
    })?;
    let config = endpoint.client_config(identity)?;
    let stream = match &endpoint.proxy {
        Some(proxy) => {
            let stream = dial(proxy.host(), proxy.port()).await?;
            tunnel::dig(stream, proxy, host, port).await?
        }
        None => dial(host, port).await?,
    };
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(failed)?;
    Ok(Box::new(stream))
}

async fn dial(host: &str, port: u16) -> Result<TcpStream, TransportError> {
    let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
    // Packets are small, and each waits for an answer.
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

fn failed(error: io::Error) -> TransportError {
    let (kind, what) =
        tls_failure::kind_of(&error).unwrap_or((ErrorKind::Connect, "there is no connection"));
    TransportError::new(kind, what).with_source(error)
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}
