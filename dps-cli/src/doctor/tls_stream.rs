//! The byte stream that TLS uses: a connection to the host, or a tunnel through the proxy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dps_device::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::place::{Place, STEP};

/// The longest head of a proxy's answer.
const MAX_HEAD: usize = 16 << 10;

/// A connection to a port of the host.
pub(super) async fn open(place: &Place, port: u16) -> Result<TcpStream, String> {
    if let Some(proxy) = &place.proxy {
        return through_proxy(place, proxy, port).await;
    }
    match timeout(STEP, TcpStream::connect((place.host.as_str(), port))).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in 10 seconds".to_owned()),
    }
}

/// A tunnel (RFC 9110, section 9.3.6). The error is the proxy's answer.
pub(super) async fn through_proxy(
    place: &Place,
    proxy: &Proxy,
    port: u16,
) -> Result<TcpStream, String> {
    let tunnel = async {
        let mut stream = TcpStream::connect((proxy.host(), proxy.port())).await?;
        let target = format!("{}:{port}", place.host.for_url());
        let authorization = proxy
            .credentials()
            .map_or_else(String::new, |(user, password)| {
                format!(
                    "Proxy-Authorization: Basic {}\r\n",
                    STANDARD.encode(format!("{user}:{password}"))
                )
            });
        let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
            head.push(stream.read_u8().await?);
        }
        Ok::<_, std::io::Error>((stream, head))
    };
    let (stream, head) = match timeout(STEP, tunnel).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("no answer in 10 seconds".to_owned()),
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some(code) if code.starts_with('2') => Ok(stream),
        _ => Err(status
            .chars()
            .filter(|c| !c.is_control())
            .take(100)
            .collect()),
    }
}
