//! The network side of the emulator: HTTPS, MQTT and AMQP, and the last two over WebSocket.
//!
//! Over HTTPS, the path decides which API a request is for: the device API, the service API, the control plane, the
//! REST API of the hubs, or the files that devices upload.

mod absolute_target;
#[cfg(feature = "control")]
mod again;
mod amqp;
mod answer;
mod blob;
mod call;
mod connection_counts;
mod control_plane;
mod device;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod gateway;
mod https;
mod hub_api;
mod listen;
mod mqtt;
mod peer;
mod protocol;
mod refusal_log;
mod reply;
mod routing;
mod service;
mod websocket;
mod write_timeout;

use ::http::header::AUTHORIZATION;
use dps_types::ErrorCode;
use dps_types::protocol::{ApiVersion, RouteError, query_parameter};
use hyper::Request;
use hyper::body::Incoming;
use tokio::time::Instant;

#[cfg(feature = "control")]
pub(crate) use absolute_target::replace_host;
#[cfg(feature = "control")]
pub(crate) use again::{Again, HEADERS};
#[cfg(feature = "control")]
pub(crate) use call::check_headers;
#[cfg(feature = "control")]
pub(crate) use connection_counts::ConnectionCount;
pub(crate) use connection_counts::ConnectionCounts;
pub(crate) use gateway::{Gateway, Shared};
#[cfg(feature = "control")]
pub(crate) use hub_api::MethodDocument;
pub(crate) use listen::serve;
pub(crate) use protocol::Protocol;
pub(crate) use refusal_log::RefusalLog;

use crate::access::ServiceAction;
use crate::instances::Instances;
use crate::journal::{Actor, Exchange};
#[cfg(feature = "control")]
use crate::recording::RecordedExchange;
use crate::service_error::ServiceError;
use answer::Answer;
use call::Call;
use peer::{Caller, Peer, Transport};
use reply::Reply;

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

impl Instances {
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
        let api = Api::of(&call.path);
        let reply = match (Box::pin(self.for_call(api, &call)).await, api) {
            (Ok(gateway), Api::Device) => {
                Box::pin(device::https::answer(&gateway, call, caller)).await?
            }
            (Ok(gateway), _) => Box::pin(gateway.answer_operator(self, api, call, caller)).await,
            (Err(error), _) => {
                self.first().refused(caller, None, &error);
                self.first().error_reply(api, &error)
            }
        };
        if reply.status() < 400 {
            // Every request that succeeds was authenticated.
            peer.prove();
        }
        tracing::debug!(asked, status = reply.status(), "answered");
        Some(reply.into_response())
    }
}

impl Gateway {
    /// Answers a request of the service API or the control plane that needs no token, because the control endpoint has accepted it. The api-version
    /// may be left out.
    #[cfg(feature = "control")]
    pub(crate) async fn answer_trusted(
        &self,
        instances: &Instances,
        request: Request<Incoming>,
        address: std::net::SocketAddr,
    ) -> ::http::Response<reply::Body> {
        let peer = Peer::without_tls(address, None);
        let caller = Caller {
            peer: &peer,
            transport: Transport::Http,
        };
        let (api, latest) = match Api::of(request.uri().path()) {
            Api::ControlPlane => (Api::ControlPlane, control_plane::LATEST.to_owned()),
            _ => (Api::Service, ApiVersion::V2021_10_01.to_string()),
        };
        let call = Call::trusted(request, &latest);
        let reply = Box::pin(self.answer_operator(instances, api, call, caller)).await;
        reply.into_response()
    }

    /// Answers a request of a service client or of a hub's back end.
    async fn answer_operator(
        &self,
        instances: &Instances,
        api: Api,
        mut call: Call,
        caller: Caller<'_>,
    ) -> Reply {
        let started = Instant::now();
        let outcome = match call.check_headers() {
            Err(error) => Err(error),
            Ok(()) => match api {
                Api::Hub => hub_api::answer(self, &mut call, caller).await,
                Api::ControlPlane => control_plane::answer(instances, &mut call).await,
                Api::Blob => blob::answer(self, &mut call).await,
                Api::Service | Api::Device => service::answer(self, &mut call).await,
            },
        };
        if let Some(journal) = &self.shared.journal {
            journal.add(operator_exchange(&call, caller, &outcome).took(started.elapsed()));
        }
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => {
                call.discard().await;
                let request = format!("{} {}", call.method, call.path);
                self.shared.refusals.operator(caller, &request, &error);
                self.error_reply(api, &error)
            }
        };
        #[cfg(feature = "control")]
        if matches!(api, Api::Service | Api::ControlPlane) {
            let now = self.instance.now().into();
            self.shared
                .recorder
                .add(|| recorded_exchange(now, &call, caller, &reply));
        }
        reply
    }

    fn error_reply(&self, api: Api, error: &ServiceError) -> Reply {
        match api {
            Api::Hub => hub_api::error_reply(error),
            Api::Blob => blob::error_reply(error),
            Api::ControlPlane => control_plane::error_reply(error, self.retry_after_seconds()),
            Api::Service | Api::Device => Answer::error(error, self.retry_after_seconds()).into(),
        }
    }

    /// Logs a refused request or connection of a device, and keeps it in the journal.
    fn refused(&self, caller: Caller<'_>, device: Option<&str>, error: &ServiceError) {
        self.shared.refusals.log(caller, device, error);
        if let Some(journal) = &self.shared.journal {
            journal.add(connection_exchange(caller, device).refused(error));
        }
    }

    /// Logs that a connection was closed because of what the client did, and keeps it in the journal.
    fn closed(&self, caller: Caller<'_>, device: Option<&str>, reason: &str) {
        self.shared.refusals.closed(caller, device, reason);
        if let Some(journal) = &self.shared.journal {
            journal.add(connection_exchange(caller, device).ended("closed", Some(reason)));
        }
    }

    /// Logs an action of a client that had no effect, and keeps it in the journal.
    fn ignored(&self, caller: Caller<'_>, device: Option<&str>, reason: &str) {
        self.shared.refusals.ignored(caller, device, reason);
        if let Some(journal) = &self.shared.journal {
            journal.add(connection_exchange(caller, device).ended("ignored", Some(reason)));
        }
    }

    /// Checks that a service client may do this, and that it does not do it too often.
    async fn authorize(&self, call: &Call, action: ServiceAction) -> Result<(), ServiceError> {
        if call.is_trusted {
            return Ok(());
        }
        let now = self.instance.now();
        let authorization = call.text(AUTHORIZATION).map_err(|_| {
            ServiceError::unauthorized().with_reason("the Authorization header is not ASCII text")
        })?;
        let access = self.instance.access();
        access.authorize(authorization, &call.path, action, now)?;
        self.instance.throttle.operation(now).await
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
        let access = self.instance.access();
        let mut hosts = access.hosts.iter();
        hosts.any(|own| own.eq_ignore_ascii_case(name))
    }
}

fn connection_exchange(caller: Caller<'_>, device: Option<&str>) -> Exchange {
    let actor = match device {
        Some(_) => Actor::Device,
        None => Actor::Connection,
    };
    Exchange::new(actor, caller.transport.name(), "connect").by(caller.peer.address, device)
}

fn operator_exchange(
    call: &Call,
    caller: Caller<'_>,
    outcome: &Result<Reply, ServiceError>,
) -> Exchange {
    let request = format!("{} {}", call.method, call.path);
    let mut exchange = Exchange::new(Actor::Operator, caller.transport.name(), request)
        .by(caller.peer.address, None);
    exchange.api_version = query_parameter(&call.query, ApiVersion::PARAMETER);
    match outcome {
        Ok(reply) => exchange.answered(reply.status(), call.body(), reply.body()),
        Err(error) => exchange
            .answered(error.status(), call.body(), b"")
            .refused(error),
    }
}

/// The request of an operator as a recording has it.
#[cfg(feature = "control")]
fn recorded_exchange(
    now: dps_types::Timestamp,
    call: &Call,
    caller: Caller<'_>,
    reply: &Reply,
) -> RecordedExchange {
    let path = match call.query.as_str() {
        "" => call.path.clone(),
        query => format!("{}?{query}", call.path),
    };
    let mut exchange = RecordedExchange::new(now, caller.transport.name(), &call.method, &path)
        .asked(call.body())
        .answered(reply.status(), reply.body());
    for name in HEADERS {
        let value = call.text(::http::HeaderName::from_static(name));
        if let Ok(Some(value)) = value {
            let headers = &mut exchange.request_headers;
            headers.insert(name.to_owned(), value.to_owned());
        }
    }
    exchange
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
