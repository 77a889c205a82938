//! Answers a recorded request again, without a connection: the control endpoint has accepted it.

use std::net::SocketAddr;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use dps_types::protocol::device::DeviceRoute;

use super::call::{Call, api_version};
use super::device::answer::{self, DeviceCall, Outcome};
use super::peer::{Caller, Peer, Transport};
use super::{Api, Gateway};
use crate::attest::Presented;
use crate::instances::Instances;
use crate::service_error::ServiceError;

/// The request headers that a recording keeps.
pub(crate) const HEADERS: [&str; 4] = [
    "content-type",
    "if-match",
    dps_types::protocol::MAX_ITEM_COUNT,
    dps_types::protocol::CONTINUATION,
];

/// A request to answer again.
pub(crate) struct Again<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    pub(crate) body: Bytes,
}

impl Gateway {
    /// Answers a request of an operator, without its token. Returns the status and the body.
    pub(crate) async fn operator_again(
        &self,
        instances: &Instances,
        request: Again<'_>,
        address: SocketAddr,
    ) -> (u16, Bytes) {
        let peer = Peer::without_tls(address, None);
        let caller = Caller {
            peer: &peer,
            transport: Transport::Http,
        };
        let api = Api::of(request.path);
        let reply =
            Box::pin(self.answer_operator(instances, api, request.into_call(), caller)).await;
        (reply.status(), Bytes::copy_from_slice(reply.body()))
    }

    /// Answers a request of a device. Returns the status and the body, or `None` if a fault prevents an answer.
    pub(crate) async fn device_again(
        &self,
        request: Again<'_>,
        presented: Presented<'_>,
        address: SocketAddr,
    ) -> Option<(u16, Bytes)> {
        let peer = Peer::without_tls(address, None);
        let caller = Caller {
            peer: &peer,
            transport: Transport::Http,
        };
        let outcome = match self.device_call(&request, presented) {
            Ok((route, api_version, presented)) => {
                let call = DeviceCall {
                    route: &route,
                    api_version,
                    presented,
                    body: &request.body,
                    takes_challenge: true,
                };
                Box::pin(answer::answer(self, &call, caller)).await
            }
            Err(error) => answer::refused(self, caller, None, &error),
        };
        match outcome {
            Outcome::Reply(answer) => Some((answer.status, answer.body.into())),
            Outcome::Silence | Outcome::Cut => None,
        }
    }

    fn device_call<'p>(
        &self,
        request: &Again<'_>,
        presented: Presented<'p>,
    ) -> Result<(DeviceRoute, dps_types::protocol::ApiVersion, Presented<'p>), ServiceError> {
        let route = DeviceRoute::parse(request.method, request.path)?;
        Ok((
            route,
            api_version(request.query, &self.instance)?,
            presented,
        ))
    }
}

impl Again<'_> {
    fn into_call(self) -> Call {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(*name), HeaderValue::from_str(value))
            {
                headers.insert(name, value);
            }
        }
        Call::again(self.method, self.path, self.query, headers, self.body)
    }
}
