//! The documented limits of DPS and of IoT hubs that decide how long a fleet takes.
//!
//! Sources: azure-docs `includes/iot-dps-limits.md`, and "IoT Hub quotas and throttling".

use std::time::Duration;

use clap::ValueEnum;

/// A fleet that needs longer is a mistake in the options.
pub(super) const LONGEST: Duration = Duration::from_secs(2 * 365 * 24 * 3600);
/// Registrations per minute of one instance. Support can raise it.
pub(super) const REGISTRATIONS_PER_MINUTE: u32 = 1000;
/// Devices of one hub.
pub(super) const DEVICES_PER_HUB: u64 = 1_000_000;

/// The tier of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Tier {
    S1,
    S2,
    S3,
}

impl Tier {
    /// Registry operations per minute: DPS creates each device with one.
    pub(super) fn registry_per_minute(self, units: u32) -> f64 {
        f64::from(units)
            * match self {
                Self::S1 | Self::S2 => 100.0,
                Self::S3 => 5000.0,
            }
    }

    /// New connections per second.
    pub(super) fn connections_per_second(self, units: u32) -> f64 {
        let units = f64::from(units);
        match self {
            Self::S1 => (12.0 * units).max(100.0),
            Self::S2 => 120.0 * units,
            Self::S3 => 6000.0 * units,
        }
    }
}
