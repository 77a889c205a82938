//! Finds the answer to a request by its method and path.

use std::net::SocketAddr;

use ::http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::json;

use super::guard::COOKIE;
use super::methods::not_answered;
use super::reply::{self, Answer, Body, Failure};
use super::request::Ask;
use super::{
    Control, certificates, clock, connection, exchanges, faults, hubs, metrics, page, recording,
    replay, reset, state,
};
use crate::endpoint::check_headers;

/// The OpenAPI document.
const OPENAPI: &str = include_str!("openapi.json");
/// The first segments of the service API's paths, which are answered without a token of DPS.
const SERVICE: [&str; 4] = [
    "enrollments",
    "enrollmentGroups",
    "registrations",
    "subscriptions",
];

/// Answers a request.
pub(super) async fn answer(
    control: &Control,
    request: Request<Incoming>,
    address: SocketAddr,
) -> Response<Body> {
    if let Err(error) = check_headers(request.headers()) {
        return Failure::from(error).response();
    }
    let path = request.uri().path();
    if let Some(opened) = opened_with_token(control, &request) {
        return opened;
    }
    let checked = control
        .guard
        .check(request.method(), path, request.headers());
    if let Err(denied) = checked {
        tracing::warn!(peer = %address, reason = denied.reason, "refused a request to the control endpoint");
        return Failure::new(denied.status, denied.reason).response();
    }
    let answer = match Ask::new(request) {
        Ok(ask) => Box::pin(dispatch(control, ask, address)).await,
        Err(failure) => Err(failure),
    };
    answer.unwrap_or_else(Failure::response)
}

async fn dispatch(control: &Control, ask: Ask, address: SocketAddr) -> Answer {
    if ask
        .segments
        .first()
        .is_some_and(|it| SERVICE.contains(&it.as_str()))
    {
        let reply = control
            .gateway
            .answer_trusted(&control.instances, ask.request, address)
            .await;
        return Ok(reply::from_service(reply));
    }
    let segments: Vec<String> = ask.segments.clone();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = ask.method.clone();
    match (&method, segments.as_slice()) {
        (&Method::GET, ["health"]) => reply::ok(&json!({ "status": "healthy" })),
        (&Method::GET, ["ready"]) => ready(control).await,
        (&Method::GET, ["metrics"]) => metrics::answer(control).await,
        (&Method::GET, ["ca.pem"]) => reply::text("application/x-pem-file", control.ca_pem.clone()),
        (&Method::GET, ["connection"]) => connection::answer(control, &ask),
        (&Method::GET, ["openapi.json"]) => reply::text("application/json", OPENAPI),
        (&Method::GET, ["exchanges"]) => exchanges::list(control, &ask),
        (&Method::DELETE, ["exchanges"]) => {
            control.journal.clear();
            reply::no_content()
        }
        (&Method::GET, ["exchanges", "stream"]) => Ok(exchanges::stream(control)),
        (&Method::GET, ["faults"]) => faults::list(control),
        (&Method::POST, ["faults"]) => faults::add(control, ask).await,
        (&Method::DELETE, ["faults"]) => faults::clear(control).await,
        (&Method::DELETE, ["faults", id]) => faults::remove(control, id).await,
        (&Method::GET, ["clock"]) => clock::read(control),
        (&Method::PUT, ["clock"]) => clock::set(control, ask).await,
        (&Method::POST, ["clock", "advance"]) => clock::advance(control, ask).await,
        (&Method::GET, ["recording"]) => recording::read(control),
        (&Method::POST, ["recording"]) => recording::change(control, ask).await,
        (&Method::DELETE, ["recording"]) => recording::clear(control).await,
        (&Method::POST, ["recording", "replay"]) => {
            Box::pin(replay::answer(control, ask, address)).await
        }
        (&Method::POST, ["reset"]) => reset::answer(control, ask).await,
        (&Method::GET, ["state"]) => state::export(control, &ask).await,
        (&Method::PUT, ["state"]) => state::import(control, ask).await,
        (&Method::GET, ["hubs"]) => hubs::list(control),
        (_, ["hubs", hub, rest @ ..]) => hubs::answer(control, ask, hub, rest).await,
        (&Method::POST, ["issuedCertificates", id, "revoke"]) => {
            certificates::revoke(control, id).await
        }
        (&Method::POST, ["issuedCertificates", id, "expire"]) => {
            certificates::expire(control, id).await
        }
        (&Method::POST, ["deviceKey"]) => hubs::device_key(control, ask).await,
        (&Method::GET, [] | ["page.js"] | ["page.css"] | ["page", ..]) => {
            page::answer(control, &ask, &segments).await
        }
        (_, path) => Err(not_answered(path)),
    }
}

/// Ready means that the store answers as well.
async fn ready(control: &Control) -> Answer {
    let store = control.gateway.instance.state.store();
    match store.count(crate::state::store::Table::Meta).await {
        Ok(_) => reply::ok(&json!({ "ready": true })),
        Err(error) => Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the store does not answer: {error}"),
        )),
    }
}

/// A browser that opens `/?token=TOKEN` receives the token as a cookie, so that the page can use it.
fn opened_with_token(control: &Control, request: &Request<Incoming>) -> Option<Response<Body>> {
    let query = request.uri().query()?;
    let token = dps_types::protocol::single_query_parameter(query, "token");
    let token = token.ok().flatten()?;
    if request.method() != Method::GET || request.uri().path() != "/" {
        return None;
    }
    if !control.guard.is_token(&token) {
        return None;
    }
    let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict");
    let mut response = Failure::new(StatusCode::SEE_OTHER, "see /").response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, HeaderValue::from_static("/"));
    headers.insert(header::SET_COOKIE, HeaderValue::from_str(&cookie).ok()?);
    Some(response)
}
