//! Where the device connects to: the host, the ports, the proxy and the trusted roots; and how long a step may last.

use std::time::Duration;

use dps_device::{Host, Proxy, Roots};

use crate::context::Context;
use crate::device::{DeviceOptions, TransportName};
use crate::failure::Result;

/// The longest time of one step.
pub(super) const STEP: Duration = Duration::from_secs(10);

/// The longest time of a lookup, with its retries.
pub(super) const LOOKUP: Duration = Duration::from_secs(30);

/// Where the device connects to.
pub(super) struct Place {
    pub(super) host: Host,
    /// The transports in their order, each with its port.
    pub(super) transports: Vec<(TransportName, u16)>,
    pub(super) proxy: Option<Proxy>,
    pub(super) roots: Option<Roots>,
}

impl Place {
    pub(super) fn new(device: &DeviceOptions, context: &Context) -> Result<Self> {
        let options = device.transport_options();
        Ok(Self {
            host: device.host(context)?,
            transports: options
                .names()
                .iter()
                .map(|name| (*name, options.port(*name)))
                .collect(),
            proxy: device.network().proxy(context)?,
            roots: device.network().roots(context)?,
        })
    }

    /// Whether a transport uses the HTTPS port, so that the clock and the answers can be read.
    pub(super) fn uses_https(&self) -> bool {
        let https = |name: &TransportName| {
            matches!(
                name,
                TransportName::Http | TransportName::MqttWs | TransportName::AmqpWs
            )
        };
        self.transports.iter().any(|(name, _)| https(name))
    }
}
