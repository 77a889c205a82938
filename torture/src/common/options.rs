//! The options of a run.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::Result;
use super::random::Random;

/// The length of a run, and the seed of its random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The end of a long run. `None` for the short form.
    until: Option<Instant>,
    minutes: u64,
    pub(crate) seed: u64,
}

impl Options {
    /// Reads `--minutes N` and `--seed N`. Without minutes the run is short.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let mut options = Self {
            until: None,
            minutes: 0,
            seed: Random::new(u64::from(since_epoch.subsec_nanos())).below(1_000_000_000),
        };
        let mut arguments = arguments.iter();
        while let Some(name) = arguments.next() {
            let value = arguments.next().and_then(|value| value.parse().ok());
            let value: u64 = value.ok_or(format!("{name} requires a number"))?;
            match name.as_str() {
                "--minutes" => options.minutes = value,
                "--seed" => options.seed = value,
                _ => return Err(format!("'{name}' is not a valid option").into()),
            }
        }
        Ok(options)
    }

    /// Starts the time of a kind, or of one of several parts of a kind.
    pub(crate) fn started(&self, parts: u32) -> Self {
        let length = Duration::from_secs(self.minutes * 60) / parts;
        Self {
            until: (self.minutes > 0).then(|| Instant::now() + length),
            ..self.clone()
        }
    }

    pub(crate) fn is_long(&self) -> bool {
        self.minutes > 0
    }

    pub(crate) fn minutes(&self) -> u64 {
        self.minutes
    }

    /// True if another round is due: `short` rounds in the short form, as many as the time allows in the long form.
    pub(crate) fn goes_on(&self, done: usize, short: usize) -> bool {
        match self.until {
            Some(until) => Instant::now() < until,
            None => done < short,
        }
    }

    pub(crate) fn random(&self) -> Random {
        Random::new(self.seed)
    }
}
