//! Custom allocation policies for the Azure IoT Hub Device Provisioning Service: the trait, ready-made policies, and the webhook that hosts one.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! An enrollment with the allocation policy *custom* leaves the choice of the hub to a webhook: DPS posts an
//! [`AllocationRequest`](dps_types::AllocationRequest) to it at every registration, and the answer names the hub, the
//! twin to start with, and what to tell the device.
//!
//! * [`AllocationPolicy`] is that choice. Implement it, or put one together from [`policies`].
//! * [`Webhook`] hosts a policy: bytes in, bytes out. With the feature `server` it serves HTTP itself, is an axum
//!   router, or an Azure Functions custom handler.
//! * `WebhookCaller` (feature `client`) is the service's side: it asks a webhook, and is a policy itself.
//! * [`PolicyTest`] feeds a recorded request to a policy, for tests; `WebhookClient::inspect` asks a webhook that runs, and explains
//!   what DPS would make of its answer.
//!
//! ```
//! use async_trait::async_trait;
//! use dps_allocation::{Allocation, AllocationPolicy, Rejection, Webhook};
//! use dps_types::enrollment::InitialTwin;
//! use dps_types::{AllocationRequest, HubHostname};
//!
//! #[derive(serde::Deserialize)]
//! struct Hello {
//!     model: String,
//! }
//!
//! struct ByModel {
//!     toasters: HubHostname,
//! }
//!
//! #[async_trait]
//! impl AllocationPolicy for ByModel {
//!     async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
//!         match request.payload::<Hello>()?.model.as_str() {
//!             "toaster" => Ok(Allocation::to(&self.toasters)
//!                 .initial_twin(InitialTwin::desired([("darkness", "medium")]))
//!                 .payload("welcome")),
//!             model => Err(Rejection::new(format!("no hub for {model}"))),
//!         }
//!     }
//! }
//!
//! # #[cfg(feature = "server")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let toasters = "contoso-toasters.azure-devices.net".parse()?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! Webhook::new(ByModel { toasters }).serve(listener).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Protocol: azure-docs
//! [`iot-dps/concepts-custom-allocation.md`](https://learn.microsoft.com/azure/iot-dps/concepts-custom-allocation).

mod allocation;
mod answer;
#[cfg(feature = "client")]
mod client;
mod error;
pub mod policies;
mod policy;
mod rejection;
#[cfg(feature = "server")]
mod server;
mod trial;
mod webhook;

pub use allocation::Allocation;
#[cfg(feature = "client")]
pub use client::{Inspection, WebhookCaller, WebhookClient, check_webhook_url, masked_url};
pub use error::{Error, ErrorKind};
pub use policies::{from_async_fn, from_fn};
pub use policy::AllocationPolicy;
pub use rejection::Rejection;
pub use trial::{Outcome, PolicyTest};
pub use webhook::{Webhook, WebhookReply, WebhookRequest};
