//! A Testcontainers module for the emulator of the Azure IoT Hub Device Provisioning Service (DPS).
#![doc = include_str!("../README.md")]

mod connection;
mod error;
mod image;

pub use connection::Connection;
pub use error::{Error, ErrorKind};
pub use image::DpsEmulatorImage;
