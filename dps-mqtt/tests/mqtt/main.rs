//! The behaviour of the crate, checked with the bytes that are sent.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as such"
)]

mod common;
mod refused;
mod stream;
mod wire;
