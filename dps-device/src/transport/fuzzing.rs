//! Proxies and the pages of other servers, for the targets of `fuzz/`.

use dps_tls::Proxy;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{page, tunnel};
use crate::host::Host;

/// Asks the proxy at the other end of the stream for a tunnel. Returns the error as text.
pub async fn connect_through_proxy<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    proxy: &Proxy,
    host: &Host,
) -> Result<S, String> {
    let opened = tunnel::connect(stream, proxy, host, 443).await;
    opened.map_err(|error| format!("{error:#} {error:?}"))
}

/// Whether an answer does not come from DPS.
pub fn is_foreign(status: u16, content_type: Option<&str>, body: &[u8]) -> bool {
    page::check(status, content_type, body).is_some()
}
