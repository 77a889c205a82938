//! Direct methods: a back end invokes a method of a connected device and waits for the device's response.
//!
//! Source: azure-docs `iot-hub/iot-hub-devguide-direct-methods.md`, and for the error codes `iot-hub/troubleshoot-error-codes.md`.

use std::fmt;
use std::time::Duration;

use dps_types::ErrorCode;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Hubs, Identity};
use crate::service_error::ServiceError;

/// The largest payload of a method or of a response, in bytes.
pub(crate) const MAX_METHOD_PAYLOAD: usize = 128 * 1024;
/// The longest name of a method, in characters.
const MAX_NAME: usize = 100;
/// The time for the response of a device if the caller sets none.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A direct method to invoke on a device.
///
/// ```no_run
/// # async fn example(dps: &dps_emulator::Emulator) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_emulator::DirectMethod;
///
/// let hub = dps.hub("toasters").ok_or("the hub is not linked")?;
/// let response = hub.invoke_method("toaster-1", &DirectMethod::new("eject").payload(2)).await?;
/// println!("{} {}", response.status, response.payload);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq)]
pub struct DirectMethod {
    pub(crate) name: String,
    pub(crate) payload: Value,
    pub(crate) response_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

impl DirectMethod {
    /// A method without a payload, which the device receives as `null`. The device has 30 seconds to respond, and must be
    /// connected.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            payload: Value::Null,
            response_timeout: RESPONSE_TIMEOUT,
            connect_timeout: Duration::ZERO,
        }
    }

    /// Sets the payload, at most 128 KiB as JSON.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Value>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Sets the time within which the device must respond; 30 seconds by default. If the device is connected to another emulator that
    /// shares the store, it is 300 seconds at most, IoT Hub's limit.
    #[must_use]
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.response_timeout = timeout;
        self
    }

    /// Sets the time to wait for a device that is not connected; zero by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }
}

impl fmt::Debug for DirectMethod {
    /// Hides the payload, which may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectMethod")
            .field("name", &self.name)
            .field("response_timeout", &self.response_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

/// The response of a device to a direct method.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct MethodResponse {
    /// The status that the device chose, such as 200.
    pub status: i32,
    /// The payload; `null` if the response has none.
    pub payload: Value,
}

/// A method on its way to a device.
#[derive(Debug)]
pub(crate) struct MethodCall {
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) response: oneshot::Sender<MethodResponse>,
}

impl MethodResponse {
    pub(crate) fn new(status: i32, payload: Value) -> Self {
        Self { status, payload }
    }
}

impl Hubs {
    /// Invokes a method on a device or module and waits for the response.
    pub(crate) async fn invoke(
        &self,
        identity: &Identity,
        method: &DirectMethod,
    ) -> Result<MethodResponse, ServiceError> {
        let payload = method.payload.to_string().into_bytes();
        if payload.len() > MAX_METHOD_PAYLOAD {
            return Err(ServiceError::too_large(MAX_METHOD_PAYLOAD));
        }
        if method.name.is_empty() || method.name.chars().count() > MAX_NAME {
            return Err(ServiceError::invalid(format!(
                "The methodName must have 1 to {MAX_NAME} characters."
            )));
        }
        self.required(identity).await?;
        let (sender, response) = oneshot::channel();
        let call = MethodCall {
            name: method.name.clone(),
            payload,
            response: sender,
        };
        self.reach(identity, call, method.connect_timeout).await?;
        match timeout(method.response_timeout, response).await {
            Ok(Ok(response)) => {
                let status = response.status;
                tracing::info!(device = %identity, method = method.name, status, "a direct method was executed");
                Ok(response)
            }
            Ok(Err(_)) => Err(ServiceError::new(
                ErrorCode::new(404_104),
                "The connection of the device was closed before it responded.",
            )),
            Err(_) => Err(ServiceError::new(
                ErrorCode::new(504_101),
                "Timed out waiting for the response from device.",
            )),
        }
    }

    /// Passes the call to the device's connection, and waits for such a connection within the limit.
    async fn reach(
        &self,
        identity: &Identity,
        mut call: MethodCall,
        limit: Duration,
    ) -> Result<(), ServiceError> {
        let key = identity.key();
        let deadline = Instant::now() + limit;
        loop {
            let mut reachable = std::pin::pin!(self.connections.reachable());
            reachable.as_mut().enable();
            let here = self.connections.send_method(&key, call);
            let Err(refused) = here else {
                return Ok(());
            };
            let elsewhere = self.invoke_elsewhere(&key, refused).await;
            call = match elsewhere {
                Ok(()) => return Ok(()),
                Err(call) => call,
            };
            // Without the first condition, the connections of other devices would prolong the wait without end.
            if Instant::now() >= deadline || timeout_at(deadline, reachable).await.is_err() {
                return Err(ServiceError::new(
                    ErrorCode::new(404_103),
                    "Timed out waiting for device to connect.",
                )
                .with_reason(format!(
                    "{identity} is not connected, or has not subscribed to direct methods"
                )));
            }
        }
    }
}
