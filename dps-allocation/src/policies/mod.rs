//! Ready-made policies. They accept other policies as parameters, so they compose.
//!
//! ```
//! use dps_allocation::Webhook;
//! use dps_allocation::policies::{ByPayload, EvenlyWeighted, Fallback, Fixed};
//!
//! let toasters = "toasters.azure-devices.net".parse()?;
//! let webhook = Webhook::new(
//!     Fallback::new(ByPayload::field("model").when("toaster", Fixed::to(toasters)))
//!         .or(EvenlyWeighted::new()),
//! );
//! # Ok::<(), dps_types::ParseError>(())
//! ```

mod by_certificate;
mod by_payload;
mod by_registration_id;
mod capacity_aware;
mod cases;
mod draw;
mod evenly_weighted;
mod fallback;
mod fixed;
pub(crate) mod from_fn;
#[cfg(feature = "probe")]
mod latency_probe;
mod latency_table;
mod lowest_latency;
mod roll_out;
mod sticky;

pub use by_certificate::ByCertificate;
pub use by_payload::ByPayload;
pub use by_registration_id::ByRegistrationId;
pub use capacity_aware::{CapacityAware, DeviceCounter};
pub use evenly_weighted::EvenlyWeighted;
pub use fallback::Fallback;
pub use fixed::Fixed;
#[cfg(feature = "probe")]
pub use latency_probe::LatencyProbe;
pub use latency_table::LatencyTable;
pub use lowest_latency::{LatencySource, LowestLatency};
pub use roll_out::RollOut;
pub use sticky::Sticky;
