//! Latencies measured by the process that runs the policy.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use dps_types::{AllocationRequest, HubHostname};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::lowest_latency::LatencySource;
use crate::Rejection;

/// Measures the time to open a TCP connection to a hub from the process that runs the policy.
///
/// That is the latency of the device only if the policy runs near the device, such as in an edge gateway or a regional
/// webhook. A measurement is used for a while, five minutes by default. So is a failed measurement: the latency of that hub
/// is then not known. Nothing is sent on the connection.
///
/// ```
/// use dps_allocation::policies::{LatencyProbe, LowestLatency};
///
/// let policy = LowestLatency::by(LatencyProbe::new());
/// # drop(policy);
/// ```
#[derive(Debug)]
pub struct LatencyProbe {
    port: u16,
    timeout: Duration,
    max_age: Duration,
    measured: Mutex<HashMap<HubHostname, Measurement>>,
}

#[derive(Debug, Clone, Copy)]
struct Measurement {
    at: Instant,
    latency: Option<Duration>,
}

impl LatencyProbe {
    /// The MQTT port, on which every IoT hub listens: 8883.
    pub const DEFAULT_PORT: u16 = 8883;
    /// The default timeout of connecting: 2 seconds.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
    /// The default lifetime of a measurement: 5 minutes.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(300);

    /// Creates a probe with the default port, timeout and lifetime.
    pub fn new() -> Self {
        Self {
            port: Self::DEFAULT_PORT,
            timeout: Self::DEFAULT_TIMEOUT,
            max_age: Self::DEFAULT_MAX_AGE,
            measured: Mutex::default(),
        }
    }

    /// Sets the port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets the timeout of connecting, including the name resolution.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long a measurement is used.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = age;
        self
    }

    fn known(&self, hub: &HubHostname) -> Option<Measurement> {
        let measured = self
            .measured
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = measured.get(hub).copied();
        last.filter(|last| last.at.elapsed() < self.max_age)
    }

    async fn measure(&self, hub: &HubHostname) -> Measurement {
        let at = Instant::now();
        let latency =
            match tokio::time::timeout(self.timeout, TcpStream::connect((hub.as_str(), self.port)))
                .await
            {
                Ok(Ok(_connection)) => Some(at.elapsed()),
                Ok(Err(error)) => {
                    tracing::debug!(%hub, %error, "cannot connect to a hub");
                    None
                }
                Err(_elapsed) => {
                    tracing::debug!(%hub, timeout = ?self.timeout, "connecting to a hub timed out");
                    None
                }
            };
        Measurement { at, latency }
    }
}

impl Default for LatencyProbe {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl LatencySource for LatencyProbe {
    async fn latency(
        &self,
        _request: &AllocationRequest,
        hub: &HubHostname,
    ) -> Result<Option<Duration>, Rejection> {
        if let Some(known) = self.known(hub) {
            return Ok(known.latency);
        }
        let measurement = self.measure(hub).await;
        let mut measured = self
            .measured
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Only linked hubs are measured, so the map stays small. Hubs that are no longer linked are removed here.
        measured.retain(|_, old| old.at.elapsed() < self.max_age);
        measured.insert(hub.clone(), measurement);
        Ok(measurement.latency)
    }
}
