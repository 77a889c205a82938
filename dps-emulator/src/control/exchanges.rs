//! The exchanges with devices and operators: a list and a live stream.

use std::sync::Arc;

use ::http::Response;
use futures_util::stream;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::Control;
use super::reply::{self, Answer, Body};
use super::request::Ask;
use crate::journal::Exchange;

/// `GET /exchanges`: the latest first. `device` and `outcome` select, `after` is an id.
pub(super) fn list(control: &Control, ask: &Ask) -> Answer {
    let limit = ask.limit()?;
    let after = ask.number("after")?.unwrap_or_default();
    let (device, outcome) = (ask.parameter("device")?, ask.parameter("outcome")?);
    let is_asked_for = |exchange: &&Arc<Exchange>| {
        let of_device = device.as_deref().is_none_or(|device| {
            let own = exchange.device.as_deref();
            own.is_some_and(|own| own.eq_ignore_ascii_case(device))
        });
        let of_outcome = outcome.as_deref().is_none_or(|it| it == exchange.outcome);
        exchange.id > after && of_device && of_outcome
    };
    let all = control.journal.latest();
    let shown: Vec<&Arc<Exchange>> = all.iter().rev().filter(is_asked_for).take(limit).collect();
    let shown: Vec<&Exchange> = shown.into_iter().map(|it| &**it).collect();
    reply::ok(&json!({ "exchanges": shown }))
}

/// `GET /exchanges/stream`: server-sent events, until the client leaves or the emulator stops.
pub(super) fn stream(control: &Control) -> Response<Body> {
    let live = control.journal.subscribe();
    let stop = control.stop.clone();
    let events = stream::unfold((live, stop), |(mut live, stop)| async move {
        let received = tokio::select! {
            () = stop.cancelled() => return None,
            received = live.recv() => received,
        };
        let event = match received {
            Ok(exchange) => {
                let data = serde_json::to_string(&*exchange).unwrap_or_default();
                format!("id: {}\ndata: {data}\n\n", exchange.id)
            }
            Err(RecvError::Lagged(missed)) => {
                format!("event: missed\ndata: {{\"missed\":{missed}}}\n\n")
            }
            Err(RecvError::Closed) => return None,
        };
        Some((event, (live, stop)))
    });
    // The first event shows at once that the stream is open.
    let opened = stream::once(async { ": open\n\n".to_owned() });
    reply::events(futures_util::StreamExt::chain(opened, events))
}
