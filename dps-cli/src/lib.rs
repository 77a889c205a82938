//! The program `dps` for the Azure IoT Hub Device Provisioning Service (DPS).
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod certificate;
mod cli;
mod context;
mod device;
mod doctor;
mod emulator;
mod enrollment;
mod failure;
mod files;
mod format;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod input;
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
