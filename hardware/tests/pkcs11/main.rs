//! The `pkcs11` feature against SoftHSM and the emulator. Each test runs in its own process: see [`setup::alone`].

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authority;
mod certificate_keys;
mod certificates;
mod group_keys;
mod handshakes;
mod key_source;
mod mechanisms;
mod mutual_tls;
mod refusals;
mod secret_keys;
mod secrets;
mod sessions;
mod setup;
mod tokens;
mod unsuitable_keys;
