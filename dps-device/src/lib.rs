//! A device's client for the Azure IoT Hub Device Provisioning Service: prove who you are, learn your IoT hub.
//!
//! A [`ProvisioningClient`] brings three things together: the id scope of the service instance, an [`Attestation`] (who the
//! device is) and a [`Transport`] (how the bytes get there). `register()` sends the registration, waits as the service wants
//! it, retries what can be retried, and ends with an [`Assignment`] or with an [`Error`] whose kind says who must act.
//!
//! ```no_run
//! # #[cfg(feature = "http")]
//! # async fn provision(group_key: dps_device::SymmetricKey) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use dps_device::{Http, ProvisioningClient, SymmetricKeyAttestation};
//! use serde_json::json;
//!
//! let who = SymmetricKeyAttestation::from_group("toaster-0815".parse()?, &group_key);
//! let client = ProvisioningClient::new("0ne00000A0A".parse()?, who, Http::default());
//!
//! let assignment = client
//!     .register()
//!     .payload(json!({"model": "toaster"}))
//!     .timeout(Duration::from_secs(120))
//!     .await?;
//! println!("{} is at home in {}", assignment.device_id(), assignment.hub());
//! # Ok(())
//! # }
//! ```
//!
//! To see what happens on the way, watch the events:
//!
//! ```no_run
//! # async fn watch(client: dps_device::ProvisioningClient) {
//! use dps_device::Event;
//!
//! let mut registration = client.register().events();
//! while let Some(event) = registration.next().await {
//!     match event {
//!         Event::Retrying { error, wait, .. } => eprintln!("again in {wait:?}: {error}"),
//!         Event::Assigned(assignment) => println!("assigned to {}", assignment.hub()),
//!         Event::Failed(error) => eprintln!("{error}"),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! # Transports
//!
//! | | Port | Feature | Carries |
//! | --- | --- | --- | --- |
//! | `Http` | 443 | `http` (default) | keys, certificates |
//! | `Mqtt` | 8883 | `mqtt` | keys, certificates |
//! | `MqttWebSocket` | 443 | `websocket` | keys, certificates |
//!
//! All take the same credentials, roots, proxy and deadlines, and tell the same events. A [`Fallback`] takes several and
//! uses the first that gets through:
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
//! With the feature `hub` the device goes on to its hub with what it proved itself with: `client.hub(&assignment)` is a
//! `HubEndpoint`, which has what any MQTT client needs (host, port, client id, username, a password that is signed anew, or a client
//! certificate), and a small connection of its own for the twin:
//!
//! ```no_run
//! # #[cfg(feature = "hub")]
//! # async fn twin(client: dps_device::ProvisioningClient) -> Result<(), dps_device::Error> {
//! use dps_device::TwinUpdate;
//! use serde_json::json;
//!
//! let assignment = client.register().await?;
//! let mut connection = client.hub(&assignment).connect().await?;
//! let twin = connection.twin().await?;
//! println!("the operator wants {:?}", twin.desired.get("darkness"));
//! connection.report(json!({"firmware": "1.2.3"})).await?;
//! loop {
//!     match connection.next().await? {
//!         TwinUpdate::Desired(change) => println!("now {:?}", change.get("darkness")),
//!         TwinUpdate::Twin(twin) => println!("away for a while: {:?}", twin.desired),
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! A device that lives for years remembers its hub, and asks DPS again only when that hub does not want it any more. That is
//! a `ProvisionedDevice`: it boots without DPS, and does what Microsoft recommends for fleets.
//!
//! ```no_run
//! # #[cfg(feature = "hub")]
//! # async fn live(client: dps_device::ProvisioningClient) -> Result<(), dps_device::Error> {
//! use dps_device::{AssignmentFile, ProvisionedDevice};
//! use serde_json::json;
//!
//! let store = AssignmentFile::new("/var/lib/toaster/assignment.json");
//! let mut device = ProvisionedDevice::new(client, store);
//! device.report(json!({"firmware": "1.2.3"})).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Waiting
//!
//! Between two requests pass at least two seconds and at least what `Retry-After` says, however long, plus a random part of
//! a backoff that doubles with every failure, up to a minute. 408, 429, 5xx but 501, error code 409203 and network failures are
//! retried, for a registration and a poll alike, within one deadline. A `Retry-After` that does not fit in the deadline
//! ends the registration at once. Waits are measured on a clock that does not jump.
//!
//! # Logging
//!
//! Every registration is a `tracing` span `register` with the fields `registration_id`, `id_scope`, `attempt` and
//! `operation_id`. Neither spans, events nor errors hold a key or a token.

mod answer;
mod assignment;
mod attestation;
mod client;
mod error;
mod event;
mod exchange;
#[cfg(feature = "hub")]
mod hub;
mod lookup;
mod poll;
mod register;
mod transport;
mod wrapped_key;

pub use assignment::Assignment;
#[cfg(feature = "pkcs11")]
pub use attestation::pkcs11;
#[cfg(feature = "tpm")]
pub use attestation::tpm;
pub use attestation::{
    Attestation, ClientIdentity, Proof, SymmetricKeyAttestation, TpmKeys, X509Attestation,
};
pub use client::ProvisioningClient;
pub use dps_tls::Roots;
pub use dps_types::SymmetricKey;
pub use dps_types::{Clock, SystemClock};
pub use error::{Error, ErrorKind};
pub use event::{Event, RegistrationEvents};
#[cfg(feature = "hub")]
pub use hub::{
    AssignmentFile, AssignmentStore, CachedAssignment, DeviceEvent, DeviceEvents, DeviceState,
    HubConnection, HubEndpoint, HubPassword, HubTransport, ProvisionedDevice, Twin, TwinProperties,
    TwinUpdate,
};
pub use lookup::Lookup;
pub use register::Register;
#[cfg(feature = "http")]
pub use transport::Http;
#[cfg(feature = "mqtt")]
pub use transport::Mqtt;
#[cfg(feature = "websocket")]
pub use transport::MqttWebSocket;
pub use transport::{Fallback, Proxy, Reply, Session, Target, Transport, TransportError};
