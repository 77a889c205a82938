//! Devices that are connected to other replicas: the messages about them, and the effects of messages from other replicas.
//!
//! A device has one connection, at one replica. The replicas do not know where, so each message goes to all of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::connections::ToDevice;
use super::methods::{MethodCall, MethodResponse};
use super::twin::DesiredUpdate;
use super::{Hubs, Identity};
use crate::replica::{Envelope, Message};

/// The time within which a replica with the device's connection confirms a method.
const CONFIRMATION: Duration = Duration::from_secs(2);
/// The longest time that a device may take to respond to a method of another replica: IoT Hub's limit of
/// `responseTimeoutInSeconds`.
const LONGEST_RESPONSE: Duration = Duration::from_secs(300);

/// The methods that other replicas are asked to invoke.
#[derive(Debug, Default)]
pub(super) struct RemoteCalls(Mutex<HashMap<String, RemoteCall>>);

#[derive(Debug)]
struct RemoteCall {
    /// Informs the caller that a device has received the method.
    confirmation: Option<oneshot::Sender<()>>,
    response: oneshot::Sender<MethodResponse>,
}

/// A method of another replica that a device here has received.
#[derive(Debug)]
pub(crate) struct PendingAnswer {
    call: String,
    response: oneshot::Receiver<MethodResponse>,
}

impl Hubs {
    /// Sends a message to the device, wherever it is connected.
    pub(super) fn send(&self, device: &str, message: ToDevice) {
        if let Some(bus) = &self.bus {
            let device = device.to_owned();
            match &message {
                ToDevice::Desired(update) => bus.send(Message::Desired {
                    device,
                    document: update.document.clone(),
                    version: update.version,
                }),
                ToDevice::MessageQueued => bus.send(Message::Queued { device }),
                ToDevice::Method(_) => {}
            }
        }
        self.connections.send(device, message);
    }

    /// Ends the device's connection, wherever it is; false if it has none here.
    pub(super) fn end_connection(&self, device: &str) -> bool {
        self.inform(|| Message::Disconnect {
            device: device.to_owned(),
        });
        self.connections.disconnect(device)
    }

    /// Ends the connection of a device that is removed, and forgets its session.
    pub(super) fn end_session(&self, device: &str) {
        self.inform(|| Message::Remove {
            device: device.to_owned(),
        });
        self.connections.remove(device);
    }

    /// The device has subscribed to direct methods: callers at other replicas try again.
    pub(crate) fn reachable(&self, identity: &Identity) {
        self.inform(|| Message::Reachable {
            device: identity.key(),
        });
    }

    /// Informs the other replicas, if there are any.
    pub(crate) fn inform(&self, message: impl FnOnce() -> Message) {
        if let Some(bus) = &self.bus {
            bus.send(message());
        }
    }

    /// Asks the other replicas to invoke a method. Returns the method if none of them has the device's connection.
    pub(super) async fn invoke_elsewhere(
        &self,
        device: &str,
        method: MethodCall,
    ) -> Result<(), MethodCall> {
        let (Some(bus), Ok(payload)) = (&self.bus, serde_json::from_slice(&method.payload)) else {
            return Err(method);
        };
        let MethodCall {
            name,
            payload: bytes,
            response,
        } = method;
        let (sender, confirmed) = oneshot::channel();
        let call = Uuid::new_v4().to_string();
        self.remote_calls.insert(call.clone(), sender, response);
        bus.send(Message::Invoke {
            call: call.clone(),
            device: device.to_owned(),
            name: name.clone(),
            payload,
        });
        if timeout(CONFIRMATION, confirmed)
            .await
            .is_ok_and(|confirmed| confirmed.is_ok())
        {
            return Ok(());
        }
        match self.remote_calls.take(&call) {
            Some(response) => Err(MethodCall {
                name,
                payload: bytes,
                response,
            }),
            // The response has arrived at this moment.
            None => Ok(()),
        }
    }

    /// Handles a message of a replica. Returns a method that a device here has received and will answer.
    pub(crate) fn handle(&self, envelope: Envelope) -> Option<PendingAnswer> {
        let bus = self.bus.as_ref()?;
        let is_own = envelope.from == bus.id();
        match envelope.message {
            Message::Connected { device, connection } if is_own => {
                self.connections.announced(&device, connection);
            }
            // If this replica has lost messages, the other replicas may not know its connections.
            Message::Lost => self.missed(),
            _ if is_own => {}
            Message::Connected { device, .. } => self.connections.connected_elsewhere(&device),
            Message::Reachable { .. } => self.connections.retry(),
            Message::Desired {
                device,
                document,
                version,
            } => {
                let update = DesiredUpdate { document, version };
                self.connections.send(&device, ToDevice::Desired(update));
            }
            Message::Queued { device } => {
                self.connections.send(&device, ToDevice::MessageQueued);
            }
            Message::Control | Message::Recorded { .. } => {}
            Message::Disconnect { device } => {
                self.connections.disconnect(&device);
            }
            Message::Remove { device } => self.connections.remove(&device),
            Message::DisconnectAll { .. } => self.missed(),
            Message::Invoke {
                call,
                device,
                name,
                payload,
            } => {
                let (sender, response) = oneshot::channel();
                let method = MethodCall {
                    name,
                    payload: payload.to_string().into_bytes(),
                    response: sender,
                };
                if self.connections.send_method(&device, method).is_ok() {
                    bus.send(Message::Invoked { call: call.clone() });
                    return Some(PendingAnswer { call, response });
                }
            }
            Message::Invoked { call } => self.remote_calls.confirm(&call),
            Message::Response {
                call,
                status,
                payload,
            } => {
                if let Some(response) = self.remote_calls.take(&call) {
                    // The caller may have stopped waiting.
                    let _ = response.send(MethodResponse::new(status, payload));
                }
            }
            Message::NoResponse { call } => drop(self.remote_calls.take(&call)),
        }
        None
    }

    /// Waits for the device's response to a method of another replica, and sends it there.
    pub(crate) async fn answer(&self, pending: PendingAnswer) {
        let PendingAnswer { call, response } = pending;
        let response = timeout(LONGEST_RESPONSE, response).await;
        self.inform(|| match response {
            Ok(Ok(MethodResponse { status, payload })) => Message::Response {
                call,
                status,
                payload,
            },
            Ok(Err(_)) | Err(_) => Message::NoResponse { call },
        });
    }

    /// Messages of other replicas were lost. Devices that connect again read their twins and receive their messages.
    pub(crate) fn missed(&self) {
        self.connections.disconnect_all();
    }
}

impl RemoteCalls {
    fn insert(
        &self,
        call: String,
        confirmation: oneshot::Sender<()>,
        response: oneshot::Sender<MethodResponse>,
    ) {
        let mut calls = self.calls();
        // Those of callers that no longer wait.
        calls.retain(|_, call| !call.response.is_closed());
        let confirmation = Some(confirmation);
        calls.insert(
            call,
            RemoteCall {
                confirmation,
                response,
            },
        );
    }

    fn confirm(&self, call: &str) {
        let mut calls = self.calls();
        if let Some(confirmation) = calls
            .get_mut(call)
            .and_then(|call| call.confirmation.take())
        {
            // The caller may have stopped waiting.
            let _ = confirmation.send(());
        }
    }

    fn take(&self, call: &str) -> Option<oneshot::Sender<MethodResponse>> {
        let taken = self.calls().remove(call);
        taken.map(|call| call.response)
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<String, RemoteCall>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
