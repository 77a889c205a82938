//! The network side of the emulator: HTTPS, MQTT and AMQP, and the last two over WebSocket.
//!
//! Over HTTPS, the path decides which API a request is for: the device API, the service API, the control plane, the
//! REST API of the hubs, or the files that devices upload.

mod amqp;
mod answer;
mod blob;
mod call;
mod control_plane;
mod device;
mod https;
mod hub_api;
mod listen;
mod mqtt;
mod peer;
mod refusal_log;
mod reply;
mod service;
mod websocket;
mod write_timeout;

use std::sync::Arc;

use ::http::header::AUTHORIZATION;
use dps_types::ErrorCode;
use dps_types::protocol::RouteError;
use hyper::Request;
use hyper::body::Incoming;

pub(crate) use listen::{Protocol, serve};
pub(crate) use refusal_log::RefusalLog;

use crate::access::ServiceAction;
use crate::fault::Faults;
use crate::instance::Instance;
use crate::provision::Engine;
use crate::service_error::ServiceError;
use answer::Answer;
use call::Call;
use peer::{Caller, Peer, Transport};
use reply::Reply;

/// Answers requests for an instance.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) instance: Arc<Instance>,
    pub(crate) engine: Arc<Engine>,
    /// The faults that tests asked for.
    pub(crate) faults: Faults,
    pub(crate) refusals: RefusalLog,
    /// `localhost` with the HTTPS port, for a `Location` if the device did not name one of the instance's hosts.
    pub(crate) local_host: String,
}

/// The APIs of the HTTPS port.
#[derive(Clone, Copy)]
enum Api {
    Device,
    Service,
    ControlPlane,
    Hub,
    /// The files that devices upload.
    Blob,
}

impl Api {
    fn of(path: &str) -> Self {
        let first = path.trim_start_matches('/').split('/').next();
        let first = first.unwrap_or_default();
        let is = |word: &str| first.eq_ignore_ascii_case(word);
        if hub_api::ROOTS.iter().any(|root| is(root)) {
            Self::Hub
        } else if service::ROOTS.iter().any(|root| is(root)) {
            Self::Service
        } else if is(control_plane::ROOT) {
            Self::ControlPlane
        } else if is(blob::ROOT) {
            Self::Blob
        } else {
            // The first segment is the id scope.
            Self::Device
        }
    }
}

impl Gateway {
    /// Answers one HTTP request, always in the service's shape. `None` means that a fault closes the connection.
    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> Option<::http::Response<reply::Body>> {
        let call = Call::new(request);
        let caller = Caller {
            peer,
            transport: peer.http(),
        };
        let asked = format!("{} {}", call.method, call.path);
        let reply = match Api::of(&call.path) {
            Api::Device => Box::pin(device::https::answer(self, call, caller)).await?,
            api => Box::pin(self.answer_operator(api, call, caller)).await,
        };
        if reply.status() < 400 {
            // Every request that succeeds was authenticated.
            peer.prove();
        }
        tracing::debug!(asked, status = reply.status(), "answered");
        Some(reply.into_response())
    }

    async fn answer_operator(&self, api: Api, mut call: Call, caller: Caller<'_>) -> Reply {
        let outcome = match call.check_headers() {
            Err(error) => Err(error),
            Ok(()) => match api {
                Api::Hub => hub_api::answer(self, &mut call, caller).await,
                Api::ControlPlane => control_plane::answer(self, &mut call).await,
                Api::Blob => blob::answer(self, &mut call).await,
                Api::Service | Api::Device => service::answer(self, &mut call).await,
            },
        };
        let error = match outcome {
            Ok(reply) => return reply,
            Err(error) => error,
        };
        call.discard().await;
        let request = format!("{} {}", call.method, call.path);
        self.refusals.operator(caller, &request, &error);
        match api {
            Api::Hub => hub_api::error_reply(&error),
            Api::Blob => blob::error_reply(&error),
            Api::ControlPlane => control_plane::error_reply(&error, self.retry_after_seconds()),
            Api::Service | Api::Device => Answer::error(&error, self.retry_after_seconds()).into(),
        }
    }

    /// Checks that a service client may do this, and that it does not do it too often.
    fn authorize(&self, call: &Call, action: ServiceAction) -> Result<(), ServiceError> {
        let now = self.instance.now();
        let authorization = call.text(AUTHORIZATION).map_err(|_| {
            ServiceError::unauthorized().with_reason("the Authorization header is not ASCII text")
        })?;
        let access = &self.instance.access;
        access.authorize(authorization, &call.path, action, now)?;
        self.instance.throttle.operation(now)
    }

    fn retry_after_seconds(&self) -> u64 {
        self.instance.settings.retry_after_seconds
    }

    /// Whether a `Host` header names one of the instance's hosts, with or without a port.
    fn is_own_host(&self, host: &str) -> bool {
        let is_port = |port: &str| port.parse::<u16>().is_ok();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if is_port(port) => name,
            _ => host,
        };
        let mut hosts = self.instance.access.hosts.iter();
        hosts.any(|own| own.eq_ignore_ascii_case(name))
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
