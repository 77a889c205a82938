//! The addresses of an emulator: the ports that it listens on, and its host in URLs and connection strings.

use std::io;
use std::net::{IpAddr, Ipv6Addr};

use tokio::net::{TcpListener, TcpSocket};

use crate::error::{Error, ErrorKind};

/// The most connections that wait to be accepted, for many devices that start at once. The system may allow fewer.
const BACKLOG: u32 = 4096;

/// A listener and its port.
pub(crate) fn listen(address: IpAddr, port: u16) -> Result<(TcpListener, u16), Error> {
    let listen = || {
        let socket = match address {
            IpAddr::V4(_) => TcpSocket::new_v4(),
            IpAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // Makes a port free as soon as its emulator has stopped. On Windows the option has another meaning.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind((address, port).into())?;
        let listener = socket.listen(BACKLOG)?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    };
    listen().map_err(|error: io::Error| {
        Error::new(
            ErrorKind::Bind,
            format!("cannot listen on {address}:{port}"),
        )
        .with_source(error)
    })
}

/// The host in connection strings, with the port unless it is the usual one.
pub(super) fn authority(host: &str, https_port: u16) -> String {
    match https_port {
        443 => host.to_owned(),
        port => format!("{host}:{port}"),
    }
}

/// The host in a URL: an IPv6 address has brackets.
pub(crate) fn bracketed(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}
