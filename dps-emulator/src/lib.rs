//! An emulator of the Azure IoT Hub Device Provisioning Service (DPS) and its linked IoT hubs. It verifies every attestation and
//! needs no Azure account.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! Devices authenticate with symmetric keys, X.509 certificates or TPMs. A TPM is challenged over HTTPS with a key that only it
//! can decrypt, and receives the key for its hub in the same way. It has ten minutes to answer. A restart of the emulator forgets
//! challenges, but not registrations.
//!
//! [`AccessPolicy`] and bearer tokens restrict what service clients may do. [`Limits`] sets quotas and rates. [`fault::Faults`]
//! makes requests of devices fail.
//!
//! # Linked hubs
//!
//! The linked hubs are served on the same ports. A device that was assigned connects to its hub over MQTT or MQTT over WebSocket,
//! with the key, certificate or TPM that it registered with. It reads its twin, patches its reported properties, receives desired
//! properties, cloud-to-device messages and direct methods, sends telemetry, and uploads files. Modules do the same with keys of
//! their own. [`HubHandle`] is the back end in a test: it reads and changes devices and twins, reads telemetry, sends messages and
//! invokes methods. So does the hub's REST API (`/devices`, `/twins`, `/messages`) with
//! [a connection string of the hub](HubHandle::connection_string). The reprovisioning policy of its enrollment decides whether a
//! device that moves keeps its twin; its modules and the messages for it stay behind and are deleted.
//!
//! ```
//! use dps_emulator::{CloudToDeviceMessage, DirectMethod, Emulator, Telemetry};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dps = Emulator::builder().kept_telemetry(1000).start().await?;
//! let hub = dps.hub("127.0.0.1").expect("it is linked by default");
//! let mut telemetry = hub.telemetry_stream();
//! # let device_exists = hub.device("toaster-7").await?.is_some();
//! # if device_exists {
//! // … a device is provisioned, connects and sends telemetry …
//! if let Some(Telemetry::Message(message)) = telemetry.next().await {
//!     println!("{} has sent {} bytes", message.device_id(), message.body().len());
//! }
//! hub.send_message("toaster-7", &CloudToDeviceMessage::new("turn off")).await?;
//! let response = hub.invoke_method("toaster-7", &DirectMethod::new("reboot")).await?;
//! println!("{}", response.status);
//! # }
//! # dps.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Without [`EmulatorBuilder::link_hub`], a hub named `127.0.0.1` is linked, because that name works with all SDKs: those for C and
//! Java require a dot in the name of a hub, and those for Python and Node.js resolve it.
//!
//! # Log
//!
//! The emulator logs with `tracing`. Each refusal of a device is one event at level `WARN`: the device, the transport, the peer's
//! address, the error code and the reason, such as "the client id must be the registration id". MQTT cannot send a reason to the
//! device, so this is the place to look when a client does not connect. Their number is limited, and they hold no secrets. What
//! devices do at their hubs is at levels `INFO` and `DEBUG`.
//!
//! # Features
//!
//! - `cli` (default): the program `dps-emulator`.
//! - `control` (default): the control endpoint and its page, [`ControlEndpoint`].
//! - `postgres`: the store in PostgreSQL, `store::PostgresStore`, and `--store postgres://…` of the program.
//! - `redb` (default): the store on disk, [`store::RedbStore`], and [`EmulatorBuilder::data_dir`].
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

mod access;
mod allocate;
mod attest;
mod ca_certificates;
mod certificate;
#[cfg(feature = "cli")]
mod cli;
mod config;
#[cfg(feature = "control")]
mod control;
mod current;
mod document;
mod emulator;
mod endpoint;
mod error;
pub mod fault;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod hub;
mod instance;
mod instances;
mod issuance;
mod issuer;
mod journal;
mod limits;
mod provision;
mod query;
mod random;
#[cfg(feature = "control")]
mod recording;
mod replica;
mod seed;
mod service_error;
mod state;
mod tls;

pub use access::{AccessPolicy, EntraRole, Permission};
pub use allocate::{DefaultAllocation, Latency, LinkedHub};
pub use attest::VerifiedCa;
pub use config::{EmulatorBuilder, HostName};
#[cfg(feature = "control")]
pub use control::ControlEndpoint;
pub use dps_types::{Clock, SystemClock};
pub use emulator::Emulator;
pub use error::{Error, ErrorKind};
pub use hub::{
    Acknowledgement, CloudToDeviceMessage, DirectMethod, FeedbackStatus, HubDevice, HubHandle,
    MessageFeedback, MethodResponse, Telemetry, TelemetryMessage, TelemetryStream,
};
pub use instances::{InstanceHandle, InstanceName, InstanceOptions};
pub use issuance::{IssuanceHandle, IssuingAuthority};
pub use issuer::{CertificateAuthority, DeviceCredentials};
pub use journal::{Actor, Exchange};
pub use limits::{HubRates, Limits};

/// The program `dps-emulator` as a function.
#[cfg(feature = "cli")]
pub mod program {
    pub use crate::cli::run;
}

/// The store that keeps an emulator's state, for implementations of your own.
pub mod store {
    #[cfg(feature = "redb")]
    pub use crate::state::store::RedbStore;
    pub use crate::state::store::{
        Action, Change, Expected, MemoryStore, Notification, Notifications, Notifier, Store,
        StoreError, StoreErrorKind, Table, conformance,
    };
    #[cfg(feature = "postgres")]
    pub use crate::state::store::{ParsePostgresUrlError, PostgresStore, PostgresUrl};
}
