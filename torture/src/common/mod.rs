//! The parts that several kinds of tests use: emulators in processes, records, proxies, random numbers, figures.

pub(crate) mod emulator;
pub(crate) mod fleet;
pub(crate) mod hub_client;
pub(crate) mod options;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod usage;

/// The result of a step that fails for reasons outside of the test, such as a program that is not installed.
pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
