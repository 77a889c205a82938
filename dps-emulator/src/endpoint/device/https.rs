//! The device API over HTTPS: reads a request as a [`DeviceCall`], and writes the answer.

use ::http::header;
use dps_types::protocol::device::{DeviceAction, DeviceRoute};

use super::super::call::{Call, api_version};
use super::super::reply::Reply;
use super::super::{Caller, Gateway};
use super::answer::{self, DeviceCall, Outcome};
use crate::attest::Presented;
use crate::service_error::ServiceError;

/// The reply, or `None` if the connection must be closed without one.
pub(in crate::endpoint) async fn answer(
    gateway: &Gateway,
    mut call: Call,
    caller: Caller<'_>,
) -> Option<Reply> {
    let route = DeviceRoute::parse(&call.method, &call.path);
    let device = route.as_ref().ok().map(|it| it.registration_id.as_str());
    let outcome = match &route {
        Ok(route) => perform(gateway, &mut call, route, caller).await,
        Err(error) => Err(error.clone().into()),
    };
    let outcome = outcome.unwrap_or_else(|error| answer::refused(gateway, caller, device, &error));
    let reply = match outcome {
        Outcome::Reply(answer) => Reply::from(answer),
        Outcome::Silence => {
            gateway.faults.stopped().await;
            return None;
        }
        Outcome::Cut => return None,
    };
    Some(match route {
        Ok(route) if reply.status() == 202 => reply.with(
            header::LOCATION.as_str(),
            location(gateway, &call, caller, route),
        ),
        _ => reply,
    })
}

async fn perform(
    gateway: &Gateway,
    call: &mut Call,
    route: &DeviceRoute,
    caller: Caller<'_>,
) -> Result<Outcome, ServiceError> {
    call.check_headers()?;
    let api_version = api_version(&call.query, &gateway.instance)?;
    let token = call.text(header::AUTHORIZATION).map_err(|_| {
        ServiceError::unauthorized().with_reason("the Authorization header is not ASCII text")
    })?;
    let presented = Presented::of(token, caller.peer.chain.as_ref())?;
    call.receive(gateway.instance.message_limit()).await?;
    if let DeviceAction::Register | DeviceAction::Lookup = route.action {
        call.require_length()?;
        call.require_json()?;
    }
    let device_call = DeviceCall {
        route,
        api_version,
        presented,
        body: call.body(),
        takes_challenge: true,
    };
    Ok(answer::answer(gateway, &device_call, caller).await)
}

/// The URL of the registration, at the host that the device asked.
fn location(gateway: &Gateway, call: &Call, caller: Caller<'_>, route: DeviceRoute) -> String {
    let DeviceRoute {
        id_scope,
        registration_id,
        ..
    } = route;
    let register = DeviceRoute::new(id_scope, registration_id, DeviceAction::Register);
    let asked = call.text(header::HOST).ok().flatten();
    let asked = asked.filter(|host| gateway.is_own_host(host));
    match asked {
        Some(host) if !caller.peer.has_tls => format!("http://{host}{}", register.path()),
        _ => {
            let host = asked.unwrap_or(&gateway.shared.local_host);
            format!("https://{host}{}", register.path())
        }
    }
}
