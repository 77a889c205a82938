//! Name resolution, the connection to each port, and the proxy on the way.

use std::net::SocketAddr;

use dps_device::Proxy;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::finding::Findings;
use super::place::{Place, STEP};
use super::tls_stream;
use crate::device::TransportName;

/// Returns whether a connection to at least one port works.
pub(super) async fn check(place: &Place, findings: &mut Findings) -> bool {
    if let Some(proxy) = &place.proxy {
        return check_proxy(place, proxy, findings).await;
    }
    let Some(addresses) = resolve(place.host.as_str(), "name resolution", findings).await else {
        return false;
    };
    let mut any = false;
    for (name, port) in &place.transports {
        any |= connect(*name, &addresses, *port, findings).await;
    }
    any
}

async fn resolve(
    host: &str,
    check: &'static str,
    findings: &mut Findings,
) -> Option<Vec<SocketAddr>> {
    let advice = "check the spelling of the host, the name server of this network, and whether a firewall answers for it";
    let addresses = match timeout(STEP, lookup_host((host, 0))).await {
        Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
        Ok(Err(error)) => {
            findings.problem(
                check,
                format!("the name {host} cannot be resolved: {error}"),
                advice,
            );
            return None;
        }
        Err(_) => {
            findings.problem(check, format!("no name server answers for {host}"), advice);
            return None;
        }
    };
    if addresses.is_empty() {
        findings.problem(check, format!("the name {host} has no address"), advice);
        return None;
    }
    let mut shown: Vec<_> = addresses
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    shown.dedup();
    findings.ok(check, format!("{host} is {}", shown.join(", ")));
    Some(addresses)
}

/// Connects to the addresses one after the other, as the transports do.
async fn connect(
    name: TransportName,
    addresses: &[SocketAddr],
    port: u16,
    findings: &mut Findings,
) -> bool {
    let mut last = None;
    for address in addresses {
        let address = SocketAddr::new(address.ip(), port);
        match timeout(STEP, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                findings.ok(
                    "connection",
                    format!("port {port} of {} is open ({name})", address.ip()),
                );
                return true;
            }
            Ok(Err(error)) => last = Some(error.to_string()),
            Err(_) => last = Some("no answer in 10 seconds".to_owned()),
        }
    }
    let advice = match name {
        TransportName::Mqtt | TransportName::Amqp => {
            "allow the port in the firewall, or use port 443: --transport http, mqtt-ws or amqp-ws"
        }
        _ => "allow port 443 to this host in the firewall, or use a proxy: --proxy",
    };
    let finding = format!(
        "port {port} cannot be reached ({name}): {}",
        last.unwrap_or_default()
    );
    findings.problem("connection", finding, advice);
    false
}

async fn check_proxy(place: &Place, proxy: &Proxy, findings: &mut Findings) -> bool {
    let Some(mut addresses) = resolve(proxy.host(), "proxy", findings).await else {
        return false;
    };
    addresses
        .iter_mut()
        .for_each(|address| address.set_port(proxy.port()));
    if !matches!(
        timeout(STEP, TcpStream::connect(&addresses[..])).await,
        Ok(Ok(_))
    ) {
        let finding = format!(
            "the proxy {}:{} cannot be reached",
            proxy.host(),
            proxy.port()
        );
        findings.problem("proxy", finding, "check the address of the proxy");
        return false;
    }
    for (_, port) in &place.transports {
        match tls_stream::through_proxy(place, proxy, *port).await {
            Ok(_) => findings.ok("proxy", format!("it connects to {}:{port}", place.host)),
            Err(status) => {
                let advice = match status.contains("407") {
                    true => {
                        "pass the user name and the password: --proxy http://user:password@host:port, or DPS_PROXY"
                    }
                    false => "allow the host and the port in the proxy",
                };
                findings.problem(
                    "proxy",
                    format!("it refuses {}:{port}: {status}", place.host),
                    advice,
                );
                return false;
            }
        }
    }
    true
}
