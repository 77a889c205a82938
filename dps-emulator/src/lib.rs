//! Device Provisioning Service in a box: both endpoints, every attestation really verified, no Azure account needed.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! For tests, in the process and in memory, on a free port of the loopback interface:
//!
//! ```
//! use dps_emulator::Emulator;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), dps_emulator::Error> {
//! let dps = Emulator::builder().link_hub("toasters").link_hub("heatpumps=2").start().await?;
//!
//! println!("{}", dps.service_connection_string().as_str()); // for an operator
//! println!("{} {}", dps.id_scope(), dps.https_url()); // for a device
//! println!("{}", dps.ca_pem()); // whom both must trust
//!
//! dps.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Devices prove themselves with symmetric keys, certificates or TPMs. A TPM is challenged over HTTPS, with a key that only
//! it can open, and gets the key for its hub in the same way; it has ten minutes to answer, and a restart forgets the
//! challenge, not the registration.
//!
//! To see what an operator may do, add [`AccessPolicy`] and bearer tokens; to see what happens when an instance is full or
//! asked too fast, set [`Limits`].
//!
//! The linked hubs are here, too, at the same ports: a device that was assigned goes on to its hub, over MQTT or WebSocket,
//! with the key, certificate or TPM that it registered with, reads its twin, patches its reported properties, hears of desired
//! ones, and sends telemetry, which is counted and dropped. [`HubHandle`] looks at devices and twins and changes them, and so does
//! the hub's own REST API: `/devices` and `/twins`, with [a connection string of the hub](HubHandle::connection_string). A device
//! that moves takes its twin along or leaves it, as its enrollment says. There are no cloud-to-device messages, methods or
//! modules.
//!
//! To see how a device takes it when the service throttles, fails or falls silent, ask for [`Faults`].
//!
//! The binary `dps-emulator` hosts the same thing and keeps its data in a directory.

mod access;
mod allocate;
mod attest;
mod ca_certificates;
mod certificate;
mod config;
mod emulator;
mod endpoint;
mod error;
mod fault;
mod hub;
mod issuer;
mod limits;
mod provision;
mod query;
mod service_error;
mod state;
mod tls;

pub use access::{AccessPolicy, EntraRole, Permission};
pub use config::EmulatorBuilder;
pub use dps_types::{Clock, SystemClock};
pub use emulator::Emulator;
pub use error::{Error, ErrorKind};
pub use fault::{Effect, Fault, Faults, Step};
pub use hub::{HubDevice, HubHandle};
pub use issuer::{CertificateAuthority, DeviceCredentials};
pub use limits::Limits;
pub use state::store::conformance as store_conformance;
pub use state::store::{
    Action, Change, Expected, MemoryStore, RedbStore, Store, StoreError, Table,
};
