//! What carriers share: how a host is written.

use std::net::Ipv6Addr;

/// The host as it stands before a port.
pub(super) fn bracketed(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}
