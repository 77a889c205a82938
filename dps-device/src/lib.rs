//! A device client for the Azure IoT Hub Device Provisioning Service (DPS): it registers a device and returns its IoT hub.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! A [`ProvisioningClient`] has three parts: the id scope of the service instance, an [`Attestation`] (the identity of the
//! device and its proof) and a [`Transport`]. `register()` sends the registration, polls as the service asks, retries
//! failures that may recover, and returns an [`Assignment`] or an [`Error`] whose kind documents who must act.
//!
//! The events of a registration are a stream:
//!
//! ```no_run
//! # async fn watch(client: dps_device::ProvisioningClient) {
//! use dps_device::Event;
//!
//! let mut registration = client.register().events();
//! while let Some(event) = registration.next().await {
//!     match event {
//!         Event::Retrying { error, wait, .. } => eprintln!("retrying in {wait:?}: {error:#}"),
//!         Event::Assigned(assignment) => println!("assigned to {}", assignment.hub()),
//!         Event::Failed(error) => eprintln!("{error:#}"),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! # Transports
//!
//! | | Port | Feature | Attestation |
//! | --- | --- | --- | --- |
//! | `Http` | 443 | `http` (default) | keys, certificates, TPMs |
//! | `Mqtt` | 8883 | `mqtt` | keys, certificates |
//! | `MqttWebSocket` | 443 | `websocket` | keys, certificates |
//! | `Amqp` | 5671 | `amqp` | keys, certificates, TPMs |
//! | `AmqpWebSocket` | 443 | `amqp` | keys, certificates, TPMs |
//!
//! All have the same roots, proxy, timeouts and events. A [`Fallback`] has several transports and uses the first that
//! connects:
//!
//! ```
//! # #[cfg(all(feature = "http", feature = "websocket"))]
//! # fn transport() -> dps_device::Fallback {
//! use dps_device::{Fallback, Http, Mqtt, MqttWebSocket};
//!
//! Fallback::new(Mqtt::default())
//!     .or(MqttWebSocket::default())
//!     .or(Http::default())
//! # }
//! ```
//!
//! # The hub
//!
//! With the feature `hub` the device connects to its hub with the same attestation. `client.hub(&assignment)` is a
//! `HubEndpoint`, which has the settings for any MQTT client (host, port, client id, username, topics, and a password or a client
//! certificate), and opens a connection of its own for telemetry, the twin, messages from the cloud and direct methods:
//!
//! ```no_run
//! # #[cfg(feature = "hub")]
//! # async fn run(client: dps_device::ProvisioningClient) -> Result<(), dps_device::Error> {
//! use dps_device::{DeviceEvent, Message};
//! use serde_json::json;
//!
//! let assignment = client.register().await?;
//! let (handle, mut events) = client.hub(&assignment).connect();
//! tokio::spawn(async move {
//!     while let Some(event) = events.next().await {
//!         match event {
//!             DeviceEvent::Twin(twin) => println!("desired: {:?}", twin.desired.as_map()),
//!             DeviceEvent::Desired(change) => println!("changed: {:?}", change.as_map()),
//!             DeviceEvent::Message(message) => println!("{} bytes", message.payload().len()),
//!             DeviceEvent::Method(method) => method.respond(200, json!({})).unwrap_or_default(),
//!             _ => {}
//!         }
//!     }
//! });
//! handle.report(json!({"firmware": "1.2.3"})).await?;
//! handle.send(Message::json(&json!({"temperature": 21.5}))?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A `ProvisionedDevice` has the same connection. It stores its assignment, starts without DPS, and registers again only when the
//! hub rejects it, as Microsoft recommends for fleets.
//!
//! # Issued certificates
//!
//! With the feature `certificates` the device requests a certificate from DPS with its registration, and connects to its hub with
//! it. `ProvisionedDevice::with_certificates` stores the certificate and renews it: see the module `certificate`.
//!
//! ```no_run
//! # #[cfg(all(feature = "certificates", feature = "hub"))]
//! # fn device(client: dps_device::ProvisioningClient) -> dps_device::ProvisionedDevice {
//! use dps_device::certificate::{CertificateOptions, CredentialFile, KeyKind, MemoryKeySource};
//! use dps_device::{AssignmentFile, ProvisionedDevice};
//!
//! let store = CredentialFile::new("/var/lib/toaster/credential.json");
//! let options = CertificateOptions::new(store, MemoryKeySource::new(KeyKind::P384)).with_report();
//! ProvisionedDevice::new(client, AssignmentFile::new("/var/lib/toaster/assignment.json"))
//!     .with_certificates(options)
//! # }
//! ```
//!
//! # Waiting
//!
//! The wait between two requests is `Retry-After` or two seconds, whichever is longer, plus a random part of a backoff that
//! doubles with every failure, up to a minute. 408, 429, 5xx except 501, error code 409203 and network failures are
//! retried, for a registration and a poll alike, under one timeout. A `Retry-After` that is longer than the time left
//! ends the registration at once. Waits are measured with a monotonic clock.
//!
//! # Logging
//!
//! Every registration is a `tracing` span `register` with the fields `registration_id`, `id_scope`, `attempt` and
//! `operation_id`. A retry is logged at `warn` with the whole chain of causes, the first time and then at most once a minute.
//! Spans, events and errors never hold a key or a token.
//!
//! # Extending
//!
//! [`transport`] and [`attestation`] have the types for your own transports and attestations. The feature `conformance` has a
//! test suite for each.
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

mod answer;
mod assignment;
pub mod attestation;
#[cfg(feature = "certificates")]
pub mod certificate;
#[cfg(all(test, any(feature = "certificates", feature = "hub")))]
mod changed_bytes;
mod client;
mod clock_skew;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod event;
mod exchange;
#[cfg(all(fuzzing, feature = "http", feature = "hub"))]
#[doc(hidden)]
pub mod fuzzing;
mod host;
#[cfg(feature = "hub")]
mod hub;
mod hub_key;
mod log_limit;
mod lookup;
mod poll;
#[cfg(any(feature = "certificates", feature = "hub"))]
mod private_file;
mod register;
mod retry;
pub mod transport;

pub use assignment::Assignment;
pub use attestation::identity::ClientIdentity;
#[cfg(feature = "pkcs11")]
pub use attestation::pkcs11;
pub use attestation::proof::Attestation;
pub use attestation::symmetric_key::SymmetricKeyAttestation;
#[cfg(feature = "tpm")]
pub use attestation::tpm;
pub use attestation::x509::X509Attestation;
pub use client::ProvisioningClient;
pub use dps_tls::Proxy;
pub use dps_tls::Roots;
pub use dps_types::protocol::ApiVersion;
pub use dps_types::{
    Clock, ConnectionProfile, DeviceId, DeviceRegistrationResult, ErrorCode, ErrorDetails,
    HubHostname, IdScope, ModuleId, OperationId, ParseError, RegistrationId, RegistrationRequest,
    RegistrationStatus, RegistrationSubstatus, SymmetricKey, SystemClock,
};
pub use error::{Error, ErrorKind};
pub use event::{Event, RegistrationEvents};
pub use host::Host;
#[cfg(feature = "hub")]
pub use hub::{
    AssignmentFile, AssignmentStore, CachedAssignment, Closed, ConnectOptions, Delivery,
    DeviceEvent, DeviceEvents, DeviceHandle, DeviceState, FileQueue, HubEndpoint, HubPassword,
    HubTransport, IdentityRecovery, MemoryQueue, Message, MessageQueue, MethodRequest, Overflow,
    ProvisionedDevice, ReceivedMessage, Recovery, Twin, TwinProperties,
};
pub use lookup::Lookup;
pub use poll::Pace;
pub use register::Register;
#[cfg(feature = "amqp")]
pub use transport::amqp::Amqp;
#[cfg(feature = "amqp")]
pub use transport::amqp_websocket::AmqpWebSocket;
pub use transport::fallback::Fallback;
#[cfg(feature = "http")]
pub use transport::http::Http;
#[cfg(feature = "mqtt")]
pub use transport::mqtt::Mqtt;
pub use transport::session::Transport;
#[cfg(feature = "websocket")]
pub use transport::websocket::MqttWebSocket;
