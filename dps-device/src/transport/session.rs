//! The two traits of a transport: it opens sessions, and a session sends requests.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use dps_types::{OperationId, RegistrationRequest};

use super::error::TransportError;
use super::reply::Reply;
use super::target::Target;
use crate::attestation::proof::Proof;
use crate::error::ErrorKind;

/// A way to reach DPS.
///
/// `Box`, `Arc` and `&` of a transport are transports, so a program may choose one at run time:
///
/// ```
/// # #[cfg(feature = "websocket")]
/// # fn choose(behind_firewall: bool) -> Box<dyn dps_device::Transport> {
/// use dps_device::{Mqtt, MqttWebSocket};
///
/// if behind_firewall {
///     Box::new(MqttWebSocket::default())
/// } else {
///     Box::new(Mqtt::default())
/// }
/// # }
/// ```
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Opens a session with the service. The caller sets a time limit.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], before anything is sent, when the transport cannot carry the proof;
    /// [`ErrorKind::Connect`] when there is no connection; other kinds as they apply.
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError>;

    /// The name of the transport in messages and logs. The default is the name of the type.
    fn name(&self) -> &str {
        let path = std::any::type_name::<Self>();
        let path = path.split('<').next().unwrap_or(path);
        path.rsplit("::").next().unwrap_or(path)
    }
}

/// A connection with the service. Each method sends one request and waits for its reply, with any status, and retries
/// nothing. The caller sets a time limit, and does not use a session again after an error.
#[async_trait]
pub trait Session: Send {
    /// Sends a registration.
    ///
    /// # Errors
    /// If there is no reply.
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError>;

    /// Asks for the state of a registration.
    ///
    /// # Errors
    /// If there is no reply.
    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError>;

    /// Asks for the registration record of the device. Only HTTPS has this request.
    ///
    /// # Errors
    /// If there is no reply. The default is [`ErrorKind::Unsupported`].
    async fn lookup(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        let _ = body;
        Err(TransportError::new(
            ErrorKind::Unsupported,
            "this transport has no status lookup: use HTTPS",
        ))
    }

    /// Returns true if the session is healthy but should be replaced before the next request: it was idle too long, or its
    /// token is about to expire. To replace it does not count as a failure.
    fn is_stale(&self) -> bool {
        false
    }
}

macro_rules! forward_transport {
    ($($pointer:ty),+) => {$(
        #[async_trait]
        impl<T: Transport + ?Sized> Transport for $pointer {
            async fn open<'a>(
                &'a self,
                target: &'a Target,
                proof: Proof<'a>,
            ) -> Result<Box<dyn Session + 'a>, TransportError> {
                (**self).open(target, proof).await
            }

            fn name(&self) -> &str {
                (**self).name()
            }
        }
    )+};
}

forward_transport!(&T, Box<T>, Arc<T>);

#[async_trait]
impl<S: Session + ?Sized> Session for Box<S> {
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        (**self).register(body).await
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        (**self).status(operation).await
    }

    async fn lookup(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        (**self).lookup(body).await
    }

    fn is_stale(&self) -> bool {
        (**self).is_stale()
    }
}
