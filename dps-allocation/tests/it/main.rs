//! Tests of the public API of the crate.
#![allow(clippy::unwrap_used)] // clippy allows it only inside test functions.

#[cfg(feature = "server")]
mod azure_functions;
#[cfg(feature = "client")]
mod caller;
mod common;
mod evenly_weighted;
#[cfg(feature = "client")]
mod fresh_process;
mod handle;
#[cfg(feature = "server")]
mod http;
#[cfg(feature = "client")]
mod inspection;
mod latency;
#[cfg(feature = "client")]
mod mock;
mod narrowing;
mod policies;
mod policy_test;
#[cfg(all(feature = "client", feature = "server"))]
mod round_trip;
#[cfg(feature = "server")]
mod server;
