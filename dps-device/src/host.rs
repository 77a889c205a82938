//! The host that a client connects to: a DNS name or an IP address, without scheme, port or path.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use dps_types::HubHostname;
use dps_types::protocol::device::GLOBAL_HOST;
use rustls::pki_types::{DnsName, ServerName};

use crate::error::Error;

/// A DNS name or an IP address.
///
/// ```
/// use dps_device::Host;
///
/// # fn main() -> Result<(), dps_device::Error> {
/// let china = Host::CHINA;
/// let private: Host = "contoso.privatelink.azure-devices-provisioning.net".parse()?;
/// let gateway: Host = "[fd00::7]".parse()?;
/// let emulator = Host::LOCALHOST;
/// assert!("https://localhost:8443".parse::<Host>().is_err());
/// # let _ = (china, private, gateway, emulator);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    /// Without brackets.
    text: Cow<'static, str>,
    address: Option<IpAddr>,
}

impl Host {
    /// The global endpoint of DPS in the public cloud, `global.azure-devices-provisioning.net`.
    pub const GLOBAL: Self = Self::name(GLOBAL_HOST);
    /// The global endpoint of DPS in Azure operated by 21Vianet (China), `global.azure-devices-provisioning.cn`. Its id scopes begin
    /// with `0cn`.
    pub const CHINA: Self = Self::name("global.azure-devices-provisioning.cn");
    /// The global endpoint of DPS in Azure Government (United States), `global.azure-devices-provisioning.us`.
    ///
    /// The name follows that of the instances there (`*.azure-devices-provisioning.us`); Microsoft's documentation does not name the
    /// global endpoint.
    pub const US_GOVERNMENT: Self = Self::name("global.azure-devices-provisioning.us");
    /// `localhost`, where an emulator usually runs.
    pub const LOCALHOST: Self = Self::name("localhost");

    /// The host as a resolver needs it: an IPv6 address has no brackets.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host as part of a URL or a `Host` header: an IPv6 address has brackets (RFC 3986, section 3.2.2).
    pub fn for_url(&self) -> Cow<'_, str> {
        match &self.address {
            Some(IpAddr::V6(address)) => Cow::Owned(format!("[{address}]")),
            _ => Cow::Borrowed(&self.text),
        }
    }

    /// The host as rustls needs it to check the server's certificate.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) for the name of a hub that is not a DNS name.
    /// A host that was parsed is always valid.
    pub fn for_tls(&self) -> Result<ServerName<'static>, Error> {
        if let Some(address) = self.address {
            return Ok(ServerName::IpAddress(address.into()));
        }
        DnsName::try_from(self.text.clone().into_owned())
            .map(ServerName::DnsName)
            .map_err(|error| invalid(&self.text, "it is not a valid DNS name").with_source(error))
    }

    const fn name(name: &'static str) -> Self {
        Self {
            text: Cow::Borrowed(name),
            address: None,
        }
    }
}

impl FromStr for Host {
    type Err = Error;

    /// Reads a DNS name, an IPv4 address, or an IPv6 address with or without brackets.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unbracketed = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = unbracketed.unwrap_or(text).parse::<IpAddr>() {
            return match (unbracketed, address) {
                (Some(_), IpAddr::V4(_)) => Err(invalid(text, "only IPv6 addresses have brackets")),
                _ => Ok(address.into()),
            };
        }
        if text.contains("://") {
            return Err(invalid(text, "write it without a scheme"));
        }
        let has_port = text
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if has_port {
            return Err(invalid(
                text,
                "write it without a port, and set the port of the transport with `with_port`",
            ));
        }
        let host = Self {
            text: Cow::Owned(text.to_owned()),
            address: None,
        };
        host.for_tls().map(|_| host)
    }
}

fn invalid(text: &str, why: &str) -> Error {
    Error::configuration(format!("{text:?} is not a valid host: {why}"))
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self {
            text: Cow::Owned(address.to_string()),
            address: Some(address),
        }
    }
}

impl From<Ipv4Addr> for Host {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<Ipv6Addr> for Host {
    fn from(address: Ipv6Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<&HubHostname> for Host {
    fn from(hub: &HubHostname) -> Self {
        match hub.as_str().parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => Self {
                text: Cow::Owned(hub.as_str().to_owned()),
                address: None,
            },
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_and_addresses_are_valid() {
        for (text, url) in [
            ("localhost", "localhost"),
            ("dps.example", "dps.example"),
            ("my_gateway", "my_gateway"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("fd00::0007", "[fd00::7]"),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!(host.for_url(), url);
            host.for_tls().unwrap();
        }
        for (host, text) in [
            (Host::GLOBAL, "global.azure-devices-provisioning.net"),
            (Host::CHINA, "global.azure-devices-provisioning.cn"),
            (Host::US_GOVERNMENT, "global.azure-devices-provisioning.us"),
        ] {
            assert_eq!(text.parse::<Host>().unwrap(), host);
        }
        assert_eq!(GLOBAL_HOST.parse::<Host>().unwrap(), Host::GLOBAL);
        assert_eq!("localhost".parse::<Host>().unwrap(), Host::LOCALHOST);
    }

    #[test]
    fn anything_else_is_an_error_that_names_the_fault() {
        for (text, hint) in [
            ("", "DNS name"),
            ("https://dps.example", "without a scheme"),
            ("dps.example:8883", "with_port"),
            ("[::1]:8883", "with_port"),
            ("[127.0.0.1]", "brackets"),
            ("dps.example/path", "DNS name"),
            ("user@dps.example", "DNS name"),
            ("dps example", "DNS name"),
            ("dps.example?x", "DNS name"),
            ("dps..example", "DNS name"),
            ("1.2.3", "DNS name"),
            ("[dps.example]", "DNS name"),
            ("g\u{e4}teway", "DNS name"),
            ("%6cocalhost", "DNS name"),
        ] {
            let error = text.parse::<Host>().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn a_hub_name_that_is_an_address_is_an_address() {
        let hub: HubHostname = "127.0.0.1".parse().unwrap();
        assert_eq!(Host::from(&hub), Host::from(Ipv4Addr::LOCALHOST));
        let hub: HubHostname = "contoso.azure-devices.net".parse().unwrap();
        assert_eq!(Host::from(&hub).to_string(), "contoso.azure-devices.net");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            if let Ok(host) = text.parse::<Host>() {
                prop_assert!(host.for_tls().is_ok());
                prop_assert_eq!(host.to_string().parse::<Host>().unwrap(), host);
            }
        }
    }
}
