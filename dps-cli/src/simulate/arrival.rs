//! When the devices of a fleet start.

use std::time::Duration;

use clap::ValueEnum;

use super::random::Random;

/// The pattern of the starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Pattern {
    /// All at the same moment
    AtOnce,
    /// Evenly over the time of --over
    Ramp,
    /// Independently of each other, over the time of --over on average
    Poisson,
    /// After a power cut: all within the seconds that a device needs to boot, 20 to 40
    PowerCut,
}

/// The shortest and the longest boot after a power cut, in seconds.
const BOOT: (f64, f64) = (20.0, 40.0);

impl Pattern {
    /// The start of a device, after the start of the simulation.
    pub(super) fn start(
        self,
        index: u64,
        devices: u64,
        over: Duration,
        random: &mut Random,
    ) -> Duration {
        let part = match self {
            Self::AtOnce => return Duration::ZERO,
            Self::PowerCut => {
                return Duration::from_secs_f64(BOOT.0 + (BOOT.1 - BOOT.0) * random.fraction());
            }
            Self::Ramp => index as f64 / devices.max(1) as f64,
            // The events of a Poisson process in a fixed time are independent and uniform.
            Self::Poisson => random.fraction(),
        };
        over.mul_f64(part)
    }
}
