//! The WebSocket in the TLS stream, for MQTT and AMQP.

use std::borrow::Cow;

use dps_websocket::WebSocketIo;

use super::error::TransportError;
use super::stream::Stream;
use super::tls_failure;
use crate::error::ErrorKind;
use crate::host::Host;

/// The port of HTTPS.
pub(super) const PORT: u16 = 443;

/// Asks the server to switch to WebSocket at this path, with this subprotocol.
pub(super) async fn upgrade(
    stream: Box<dyn Stream>,
    (host, port): (&Host, u16),
    (path, subprotocol): (&str, &str),
    max_message: usize,
) -> Result<Box<dyn Stream>, TransportError> {
    let host = authority(host, port);
    let stream = WebSocketIo::connect(stream, &host, path, subprotocol, max_message)
        .await
        .map_err(failure)?;
    Ok(Box::new(stream))
}

/// The value of the `Host` header, without the default port (RFC 9110, section 7.2).
fn authority(host: &Host, port: u16) -> String {
    match port {
        PORT => host.for_url().into_owned(),
        port => format!("{}:{port}", host.for_url()),
    }
}

fn failure(error: dps_websocket::Error) -> TransportError {
    let (kind, what) = match error.kind() {
        dps_websocket::ErrorKind::Io => tls_failure::describe(&error)
            .unwrap_or_else(|| (ErrorKind::Connect, "the connection was lost".into())),
        _ => upgrade_refused(error.http_status()),
    };
    let status = error.http_status();
    let error = TransportError::new(kind, what).with_source(error);
    match status {
        Some(status) => error.with_status(status),
        None => error,
    }
}

fn upgrade_refused(status: Option<u16>) -> (ErrorKind, Cow<'static, str>) {
    let status = match status {
        Some(429) => return (ErrorKind::Throttled, "there are too many requests".into()),
        Some(408 | 500..600) => return (ErrorKind::Service, "the service failed".into()),
        Some(status) => format!(" (status {status})"),
        None => String::new(),
    };
    let what = format!(
        "the server did not switch to WebSocket{status}: check the host, and whether a proxy, a firewall or a captive portal \
         answered in place of the service"
    );
    (ErrorKind::Protocol, what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_header_has_a_port_unless_it_is_the_default() {
        let (name, address) = ("dps.example".parse().unwrap(), "::1".parse().unwrap());
        assert_eq!(authority(&name, 443), "dps.example");
        assert_eq!(authority(&address, 443), "[::1]");
        assert_eq!(authority(&name, 8443), "dps.example:8443");
        assert_eq!(authority(&address, 8443), "[::1]:8443");
    }
}
