//! The `pkcs11` feature against PKCS#11 modules and the emulator. Each test runs in its own process: see [`setup::alone`].

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authority;
mod capabilities;
mod certificate_keys;
mod certificates;
mod chains;
mod faults;
mod group_keys;
mod handshakes;
mod key_source;
mod mechanisms;
mod modules;
mod mutual_tls;
mod refusals;
mod roll_over;
mod secret_keys;
mod secrets;
mod session_count;
mod sessions;
mod setup;
mod tokens;
mod unsuitable_keys;
