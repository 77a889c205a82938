//! A direct method that the hub invokes, and the response of the program.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::reply::{LinkId, Replies, Reply};
use crate::error::{Error, ErrorKind};

/// The status of the device's own responses: as in HTTP.
pub(super) const NOT_IMPLEMENTED: i32 = 501;
pub(super) const TOO_MANY: i32 = 429;
pub(super) const TIMEOUT: i32 = 504;

/// A direct method that the hub invokes, whose caller waits for the response.
///
/// If it is dropped without a response, the device responds with the status 501; if the program takes longer than the
/// [timeout](crate::ConnectOptions::with_method_timeout), with 504.
///
/// Source: azure-docs `iot-hub/iot-hub-devguide-direct-methods.md`.
///
/// ```no_run
/// # fn example(method: dps_device::MethodRequest) -> Result<(), dps_device::Error> {
/// use serde_json::json;
///
/// match method.name() {
///     "eject" => method.respond(200, json!({"slices": 2})),
///     _ => method.respond(404, json!(null)),
/// }
/// # }
/// ```
#[must_use = "the caller waits for the response"]
pub struct MethodRequest {
    name: String,
    payload: Vec<u8>,
    deadline: Instant,
    response: Option<Response>,
}

pub(super) struct Response {
    pub(super) replies: Replies,
    pub(super) link: LinkId,
    pub(super) rid: String,
}

impl MethodRequest {
    /// The largest payload of a response, in bytes.
    pub const MAX_BYTES: usize = 128 * 1024;

    pub(super) fn new(
        name: String,
        payload: Vec<u8>,
        deadline: Instant,
        response: Response,
    ) -> Self {
        Self {
            name,
            payload,
            deadline,
            response: Some(response),
        }
    }

    /// The name of the method. Case matters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The payload as the hub sent it: JSON, or empty.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload. An empty one counts as `null`.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if the payload is not a valid `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let payload = match self.payload.as_slice() {
            [] => b"null",
            payload => payload,
        };
        dps_types::json::from_slice(payload).map_err(|error| {
            Error::protocol("the payload of the method does not have the expected type")
                .with_source(error)
        })
    }

    /// Responds with this status and this payload, which is encoded as JSON. The meaning of the status is up to the device and its
    /// back end; usually it is that of HTTP.
    ///
    /// The response is sent while the events are polled. If the connection is lost before, the caller receives no response.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] if the payload cannot be encoded or is larger than [`MAX_BYTES`](Self::MAX_BYTES): the device then
    /// responds with 500. [`ErrorKind::Deadline`] if the timeout has passed, [`ErrorKind::Closed`] if the connection has ended.
    pub fn respond(mut self, status: i32, payload: impl Serialize) -> Result<(), Error> {
        let rejected = |what: &'static str| Error::new(ErrorKind::Rejected, what);
        let payload = serde_json::to_vec(&payload)
            .map_err(|error| rejected("the response cannot be encoded as JSON").with_source(error))
            .and_then(|payload| match payload.len() <= Self::MAX_BYTES {
                true => Ok(payload),
                false => Err(rejected("the response is larger than 128 KiB")),
            });
        match payload {
            Ok(_) if self.deadline <= Instant::now() => {
                self.response = None;
                let what = "the response to the method is too late";
                Err(Error::new(ErrorKind::Deadline, what))
            }
            Ok(payload) => match self.send(status, payload) {
                true => Ok(()),
                false => Err(Error::closed()),
            },
            Err(error) => {
                self.send(500, b"null".to_vec());
                Err(error)
            }
        }
    }

    /// Returns false if the connection has ended.
    fn send(&mut self, status: i32, payload: Vec<u8>) -> bool {
        match self.response.take() {
            Some(Response { replies, link, rid }) => replies.send(Reply::Respond {
                link,
                rid,
                status,
                payload,
            }),
            None => false,
        }
    }
}

impl Drop for MethodRequest {
    fn drop(&mut self) {
        self.send(NOT_IMPLEMENTED, b"null".to_vec());
    }
}

impl fmt::Debug for MethodRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodRequest")
            .field("name", &self.name)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
