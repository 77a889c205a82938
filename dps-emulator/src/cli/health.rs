//! Asks a running emulator whether it is healthy: the health check of a container that has no shell and no curl.

use std::error::Error as StdError;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The time within which the answer must arrive.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The part of the answer that is read: its status line.
const STATUS_LINE: usize = 64;

/// Succeeds if a GET of this `http://` URL is answered with 200.
pub(crate) async fn check_health(url: &str) -> Result<(), Box<dyn StdError>> {
    let (authority, path) = split(url)?;
    let status = timeout(TIMEOUT, status(&authority, &path)).await;
    let status = status
        .map_err(|_| format!("{url} did not answer within {} seconds", TIMEOUT.as_secs()))?
        .map_err(|error| format!("{url} cannot be reached: {error}"))?;
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(format!("{url} answered '{}', expected 200", status.trim_end()).into()),
    }
}

/// The host with a port, and the path.
fn split(url: &str) -> Result<(String, String), String> {
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| format!("'{url}' is not a valid health URL: it must start with http://"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = match path {
        "" => "/health".to_owned(),
        path => format!("/{path}"),
    };
    let port = authority.rsplit(':').next().unwrap_or_default();
    match authority.contains(':') && port.parse::<u16>().is_ok() {
        true => Ok((authority.to_owned(), path)),
        false => Ok((format!("{authority}:80"), path)),
    }
}

async fn status(authority: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(authority).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    stream
        .take(STATUS_LINE as u64)
        .read_to_end(&mut head)
        .await?;
    let head = String::from_utf8_lossy(&head);
    Ok(head.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_url_without_a_path_asks_for_health() {
        for (url, authority, path) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "/health"),
            ("http://127.0.0.1:8080/", "127.0.0.1:8080", "/health"),
            ("http://dps/ready", "dps:80", "/ready"),
            ("http://[::1]:81/ready", "[::1]:81", "/ready"),
            ("http://[::1]", "[::1]:80", "/health"),
        ] {
            let expected = (authority.to_owned(), path.to_owned());
            assert_eq!(split(url), Ok(expected), "{url}");
        }
        assert!(split("https://127.0.0.1:8443").is_err());
    }
}
