//! Custom allocation policies for the Azure IoT Hub Device Provisioning Service: the trait, ready-made policies, and the webhook that hosts one.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! # Parts
//!
//! An enrollment with the allocation policy *custom* leaves the choice of the hub to a webhook: DPS posts an
//! [`AllocationRequest`] to it at every registration, and the answer names the hub, the initial twin, and a payload for
//! the device.
//!
//! * [`AllocationPolicy`] chooses the hub. Implement it, or compose a policy from [`policies`].
//! * [`Webhook`] hosts a policy: an HTTP request in, a response out. The feature `server` adds an HTTP server, an axum
//!   router, and an Azure Functions custom handler.
//! * `WebhookCaller` (feature `client`) calls a webhook as DPS does, and is a policy itself.
//! * [`PolicyTest`] runs a policy with a recorded request, for tests. `WebhookClient::inspect` calls a running webhook and
//!   explains how DPS interprets its answer.
//!
//! # Payloads of Java devices
//!
//! Microsoft's device SDK for Java sends the payload as JSON text in a string. [`AllocationRequest::payload`] and the
//! policies that read the payload accept both forms.
//!
//! Protocol: azure-docs
//! [`iot-dps/concepts-custom-allocation.md`](https://learn.microsoft.com/azure/iot-dps/concepts-custom-allocation).
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

mod allocation;
mod answer;
#[cfg(feature = "client")]
mod client;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod policies;
mod policy;
mod policy_test;
mod rejection;
#[cfg(feature = "server")]
mod server;
mod webhook;
#[cfg(feature = "client")]
pub mod webhook_url;

// The types of dps-types and dps-tls in the signatures of this crate.
#[cfg(feature = "client")]
pub use dps_tls::Roots;
pub use dps_types::enrollment::InitialTwin;
pub use dps_types::{AllocationRequest, AllocationResponse, ErrorCode, HubHostname, PayloadError};

pub use allocation::Allocation;
#[cfg(feature = "client")]
pub use client::{Inspection, WebhookCaller, WebhookClient};
pub use error::{Error, ErrorKind};
pub use policies::from_fn::{AsyncPolicyFn, PolicyFn, from_async_fn, from_fn};
pub use policy::AllocationPolicy;
pub use policy_test::{Outcome, PolicyTest};
pub use rejection::{Rejection, RejectionKind};
pub use webhook::Webhook;
