//! Latencies measured from where the policy runs.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use dps_types::{AllocationRequest, HubHostname};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::lowest_latency::LatencySource;
use crate::Rejection;

/// Measures how long it takes to open a TCP connection to a hub, from where the policy runs.
///
/// That is the device's latency only where the policy runs near the device, in an edge gateway or a regional webhook. A
/// measurement counts for a while, five minutes if not told otherwise; so does its failure, and the hub's latency is then not known.
/// Nothing is sent on the connection.
#[derive(Debug)]
pub struct LatencyProbe {
    port: u16,
    limit: Duration,
    good_for: Duration,
    measured: Mutex<HashMap<HubHostname, Measurement>>,
}

#[derive(Debug, Clone, Copy)]
struct Measurement {
    at: Instant,
    latency: Option<Duration>,
}

impl LatencyProbe {
    /// The port of MQTT, which every IoT hub listens on.
    pub const DEFAULT_PORT: u16 = 8883;
    /// How long a connection may take, if not told otherwise.
    pub const DEFAULT_LIMIT: Duration = Duration::from_secs(2);
    /// How long a measurement counts, if not told otherwise.
    pub const DEFAULT_GOOD_FOR: Duration = Duration::from_secs(300);

    /// Port 8883, two seconds, five minutes.
    pub fn new() -> Self {
        Self {
            port: Self::DEFAULT_PORT,
            limit: Self::DEFAULT_LIMIT,
            good_for: Self::DEFAULT_GOOD_FOR,
            measured: Mutex::default(),
        }
    }

    /// Another port than 8883.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// How long a connection may take. Looking up the name is part of it.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// How long a measurement counts.
    #[must_use]
    pub fn good_for(mut self, time: Duration) -> Self {
        self.good_for = time;
        self
    }

    fn known(&self, hub: &HubHostname) -> Option<Measurement> {
        let measured = self
            .measured
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let last = measured.get(hub).copied();
        last.filter(|last| last.at.elapsed() < self.good_for)
    }

    async fn measure(&self, hub: &HubHostname) -> Measurement {
        let at = Instant::now();
        let latency = match timeout(self.limit, TcpStream::connect((hub.as_str(), self.port))).await
        {
            Ok(Ok(_connection)) => Some(at.elapsed()),
            Ok(Err(error)) => {
                tracing::debug!(%hub, %error, "a hub cannot be connected to");
                None
            }
            Err(_elapsed) => {
                tracing::debug!(%hub, limit = ?self.limit, "a hub does not answer in time");
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
        // Only linked hubs are asked for, so the map stays as small as their number. What was linked once goes here.
        measured.retain(|_, old| old.at.elapsed() < self.good_for);
        measured.insert(hub.clone(), measurement);
        Ok(measurement.latency)
    }
}
