//! The program `dps` for the Azure IoT Hub Device Provisioning Service (DPS).
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// A panic on outside input would stop the program. Each exception has its reason next to it.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable
    )
)]

mod certificate;
mod cli;
mod context;
mod device;
mod doctor;
mod document;
mod emulator;
mod enrollment;
mod failure;
mod files;
mod format;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod hardware;
mod http;
mod input;
mod key;
mod log;
mod output;
mod policy;
mod profile;
mod registration;
mod service;
mod simulate;
mod tools;
mod webhook;

use std::process::ExitCode;

/// Runs the program with the arguments of this process, and returns its exit code.
///
/// It starts its own runtime: do not call it from asynchronous code.
pub fn main() -> ExitCode {
    cli::main()
}
