//! A tunnel through an HTTP proxy with the method CONNECT.
//!
//! Source: RFC 9110, section 9.3.6; RFC 9112, section 4; RFC 7617.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::error::TransportError;
use crate::error::ErrorKind;
use crate::host::Host;
use dps_tls::Proxy;

/// The limit for the head of the proxy's answer, in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// Asks the proxy at the other end of the stream for a tunnel, and returns the stream inside the tunnel. The caller sets a
/// time limit.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    proxy: &Proxy,
    host: &Host,
    port: u16,
) -> Result<S, TransportError> {
    let request = request(proxy, host, port);
    stream.write_all(&request).await.map_err(lost)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(not_http("the head of its answer is larger than 8 KiB"));
        }
        let mut rest = (&mut stream).take((MAX_HEAD - head.len()) as u64);
        if rest.read_buf(&mut head).await.map_err(lost)? == 0 {
            return Err(lost(io::ErrorKind::UnexpectedEof.into()));
        }
        // In the tunnel the client sends first.
        if head
            .windows(4)
            .rev()
            .skip(1)
            .any(|four| four == b"\r\n\r\n")
        {
            return Err(not_http("it sends data before the client does"));
        }
    }
    match status(&head).ok_or_else(|| not_http("its answer is not HTTP"))? {
        200..300 => Ok(stream),
        407 => Err(proxy_authentication()),
        status => Err(TransportError::new(
            ErrorKind::Connect,
            format!("the proxy refused the connection to {host} port {port} (status {status})"),
        )),
    }
}

fn request(proxy: &Proxy, host: &Host, port: u16) -> Zeroizing<Vec<u8>> {
    let authority = format!("{}:{port}", host.for_url());
    let login = proxy.credentials().map(|(user, password)| {
        let plain = Zeroizing::new([user, ":", password].concat());
        Zeroizing::new(STANDARD.encode(plain.as_bytes()))
    });
    let (name, value, end) = match &login {
        Some(login) => ("Proxy-Authorization: Basic ", login.as_str(), "\r\n"),
        None => ("", "", ""),
    };
    Zeroizing::new(
        [
            "CONNECT ",
            &authority,
            " HTTP/1.1\r\nHost: ",
            &authority,
            "\r\n",
            name,
            value,
            end,
            "\r\n",
        ]
        .concat()
        .into_bytes(),
    )
}

/// The status in the line `HTTP/1.x NNN`, with or without a reason after it.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let line = line.strip_prefix(b"HTTP/1.")?;
    let (minor, line) = line.split_first()?;
    let (digits, rest) = line.strip_prefix(b" ")?.split_at_checked(3)?;
    let well_formed = minor.is_ascii_digit()
        && digits.iter().all(u8::is_ascii_digit)
        && (rest.is_empty() || rest.starts_with(b" "));
    well_formed.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// The proxy answered 407.
pub(super) fn proxy_authentication() -> TransportError {
    TransportError::new(
        ErrorKind::InvalidConfiguration,
        "proxy authentication failed (status 407): the credentials are missing or wrong",
    )
}

fn not_http(why: &'static str) -> TransportError {
    TransportError::new(
        ErrorKind::Protocol,
        format!("the proxy is not an HTTP proxy: {why}; check the proxy's host and port"),
    )
}

fn lost(error: io::Error) -> TransportError {
    TransportError::new(ErrorKind::Connect, "the connection to the proxy was lost")
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_only_from_a_status_line() {
        assert_eq!(
            status(b"HTTP/1.1 200 Connection established\r\n\r\n"),
            Some(200)
        );
        assert_eq!(status(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        for line in [
            "",
            "HTTP/1.1",
            "HTTP/1.1 ",
            "HTTP/1.1 20",
            "HTTP/1.1 2000",
            "HTTP/1.1 +20 x",
            "HTTP/1.x 200",
            "HTTP/2 200",
            "http/1.1 200",
            "SSH-2.0-OpenSSH 200",
        ] {
            assert_eq!(status(format!("{line}\r\n\r\n").as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn an_ipv6_address_has_brackets() {
        let proxy = Proxy::new("proxy", 3128).expect("a proxy");
        assert_eq!(
            request(&proxy, &"::1".parse().expect("a host"), 8883).as_slice(),
            b"CONNECT [::1]:8883 HTTP/1.1\r\nHost: [::1]:8883\r\n\r\n"
        );
    }
}
