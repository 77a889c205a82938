//! The parts that answer requests for an instance.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::connection_counts::ConnectionCounts;
use super::refusal_log::RefusalLog;
use crate::fault::Faults;
use crate::instance::Instance;
use crate::journal::Journal;
use crate::provision::Engine;
#[cfg(feature = "control")]
use crate::recording::Recorder;

/// Answers requests for an instance.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) instance: Arc<Instance>,
    pub(crate) engine: Arc<Engine>,
    /// The faults that tests asked for.
    pub(crate) faults: Faults,
    /// Ends the work of this instance.
    pub(crate) stop: CancellationToken,
    pub(crate) shared: Arc<Shared>,
}

/// The parts of the network side that all instances share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) refusals: RefusalLog,
    /// The exchanges that are kept, if they are.
    pub(crate) journal: Option<Arc<Journal>>,
    #[cfg(feature = "control")]
    pub(crate) recorder: Recorder,
    pub(crate) connections: ConnectionCounts,
    /// `localhost` with the HTTPS port, for a `Location` if the device did not name one of the instance's hosts.
    pub(crate) local_host: String,
}
