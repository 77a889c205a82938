//! The private parsers, for the targets of `fuzz/`. Compiled only with `--cfg fuzzing`, which `cargo fuzz` sets.

use dps_types::{OperationId, RegistrationId};

pub use crate::transport::fuzzing::{connect_through_proxy, is_foreign};

use crate::answer::{self, Progress};
use crate::assignment::Assignment;
use crate::error::Error;
use crate::transport::Reply;

/// The meaning of a reply.
#[derive(Debug)]
pub enum Meaning {
    Assigned(Box<Assignment>),
    Pending(OperationId),
    /// The reply has no success status.
    Refused(Error),
    /// The reply has a success status, and the registration has failed or the body is not valid.
    Failed(Error),
}

/// Interprets the reply to a registration or, with an operation, to a poll.
pub fn registration(
    status: u16,
    body: &[u8],
    operation: Option<&OperationId>,
    device: &RegistrationId,
) -> Meaning {
    let reply = match answer::accept(Reply::new(status, body)) {
        Ok(reply) => reply,
        Err(error) => return Meaning::Refused(error),
    };
    match answer::progress(&reply, operation, device) {
        Ok(Progress::Assigned(assignment)) => Meaning::Assigned(assignment),
        Ok(Progress::Pending { operation_id, .. }) => Meaning::Pending(operation_id),
        Err(error) => Meaning::Failed(error),
    }
}

/// Interprets the reply to a lookup. Returns whether it is a registration record of the device.
pub fn is_record(body: &[u8], device: &RegistrationId) -> bool {
    answer::lookup(&Reply::new(200, body), device).is_ok()
}
