//! Wire to engine and back: HTTPS with the device API, the service API and that of the hubs told apart by the path, MQTT, and MQTT over
//! WebSocket.

mod body;
mod device;
mod http;
mod hub;
mod listen;
mod management;
mod mqtt;
mod reply;
mod service;
mod websocket;

use std::sync::Arc;

use ::http::header::AUTHORIZATION;
use dps_types::ErrorCode;
use dps_types::protocol::{ApiVersion, RouteError, query_parameter};
use hyper::Request;
use hyper::body::Incoming;

pub(crate) use listen::{Protocol, serve};

use crate::access::{Access, ServiceAction};
use crate::attest::PresentedChain;
use crate::fault::Faults;
use crate::hub::Hubs;
use crate::provision::Engine;
use crate::service_error::ServiceError;
use body::Call;
use reply::Reply;

/// What a request meets behind the port.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) engine: Arc<Engine>,
    pub(crate) hubs: Arc<Hubs>,
    /// What is to go wrong for devices.
    pub(crate) faults: Faults,
    /// What `Retry-After` asks devices to wait.
    pub(crate) retry_after_seconds: u64,
    /// Who may use the service API.
    pub(crate) access: Access,
}

/// The other end of a connection.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    /// The client certificates of the TLS handshake, when there were any.
    pub(crate) chain: Option<PresentedChain>,
}

impl Gateway {
    /// Answers one request. Whatever comes in, something in the service's shape goes out: only a fault that was
    /// asked for ends the connection instead, which is `None`.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> Option<::http::Response<reply::Body>> {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let reply = match self.dispatch(request, peer).await {
            Ok(reply) => reply?,
            Err(refusal) => Reply::refusal(&refusal, self.retry_after_seconds),
        };
        tracing::debug!(asked, status = reply.status(), "answered");
        Some(reply.into_response())
    }

    async fn dispatch(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> Result<Option<Reply>, ServiceError> {
        let path = request.uri().path();
        if hub::is_path(path) {
            Ok(Some(Box::pin(hub::answer(self, request)).await))
        } else if is_service_path(path) {
            let call = Call::read(request, body::SERVICE_LIMIT).await?;
            Box::pin(service::answer(self, call)).await.map(Some)
        } else if management::is_path(path) {
            let call = Call::read(request, body::SERVICE_LIMIT).await?;
            Ok(Some(Box::pin(management::answer(self, call)).await))
        } else {
            let call = Call::read(request, self.message_limit()).await?;
            Box::pin(device::answer(self, call, peer)).await
        }
    }

    /// The largest body of a device's message.
    fn message_limit(&self) -> usize {
        self.engine.state.limits().message_bytes
    }

    /// Whether an operator may do this, and not too often.
    fn authorize(&self, call: &Call, action: ServiceAction) -> Result<(), ServiceError> {
        let now = self.engine.now();
        let authorization = call.header(AUTHORIZATION.as_str());
        self.access
            .authorize(authorization, &call.path, action, now)?;
        self.engine.throttle.operation(now)
    }
}

/// The first word of a service path; of a device path it is the id scope.
fn is_service_path(path: &str) -> bool {
    let first = path
        .trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default();
    ["enrollments", "enrollmentgroups", "registrations"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word))
}

/// The api-version of a request: there must be one, and one that Microsoft published.
fn api_version(query: &str) -> Result<ApiVersion, ServiceError> {
    let refusal = |message: String| ServiceError::new(ErrorCode::INVALID_PROTOCOL_VERSION, message);
    let text = query_parameter(query, ApiVersion::PARAMETER)
        .ok_or_else(|| refusal("The api-version query parameter is missing.".to_owned()))?;
    match text.parse::<ApiVersion>() {
        Ok(version) if version.is_known() => Ok(version),
        _ => Err(refusal(format!("The api-version '{text}' is not known."))),
    }
}

impl From<RouteError> for ServiceError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::MethodNotAllowed => {
                Self::new(ErrorCode::METHOD_NOT_ALLOWED, "Method not allowed.")
            }
            RouteError::BadId(error) => error.into(),
            _ => Self::new(ErrorCode::NOT_FOUND, "Not found."),
        }
    }
}
