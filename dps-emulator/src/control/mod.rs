//! The control endpoint: health, metrics, exchanges, faults, clock, state and the page, over plain HTTP on a port of its own.
//!
//! It shows keys and changes state. It therefore listens on loopback by default, requires a token elsewhere, and
//! refuses requests that a foreign web page makes.

mod certificates;
mod clock;
mod connection;
mod exchanges;
mod faults;
mod guard;
mod hubs;
mod messages;
mod methods;
mod metrics;
mod options;
mod page;
mod recording;
mod replay;
mod replay_proof;
mod reply;
mod request;
mod reset;
mod route;
mod server;
mod shared;
mod start;
mod state;

use std::sync::Arc;

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::endpoint::Gateway;
use crate::instances::Instances;
use crate::journal::Journal;
use crate::seed::Seed;

pub(crate) use clock::AdjustableClock;
pub use options::ControlEndpoint;
#[cfg(fuzzing)]
pub(crate) use shared::RecorderState;
pub(crate) use start::prepare;

use guard::Guard;
use server::serve;

/// The parts of the emulator that the control endpoint reads and changes.
pub(crate) struct Control {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) instances: Arc<Instances>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) clock: Arc<AdjustableClock>,
    /// The enrollments that exist again after a reset.
    pub(crate) seed: Seed,
    /// As in the ready line.
    pub(crate) connection: Map<String, Value>,
    pub(crate) ca_pem: String,
    pub(crate) guard: Guard,
    pub(crate) stop: CancellationToken,
    /// Held while the clock, the faults or the recorder are changed here and in the store, or are read from the store, so that what
    /// was read before a change does not replace it.
    pub(crate) sharing: tokio::sync::Mutex<()>,
}

/// The token of the control endpoint.
type Token = Zeroizing<String>;
