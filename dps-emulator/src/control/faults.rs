//! The active faults: list, add, remove.

use ::http::StatusCode;
use serde_json::{Value, json};

use super::Control;
use super::reply::{self, Answer, Failure};
use super::request::{Ask, BODY_LIMIT};
use crate::fault::Fault;

/// The most faults in the queue.
const MAX_FAULTS: usize = 10_000;

/// `GET /faults`
pub(super) fn list(control: &Control) -> Answer {
    let faults = control.gateway.faults.list();
    let faults: Vec<Value> = faults.iter().map(|(id, fault)| show(*id, fault)).collect();
    reply::ok(&json!({ "faults": faults }))
}

/// `POST /faults`
pub(super) async fn add(control: &Control, ask: Ask) -> Answer {
    let fault: Fault = ask.json(BODY_LIMIT).await?;
    let _sharing = control.sharing.lock().await;
    let faults = &control.gateway.faults;
    if faults.list().len() >= MAX_FAULTS {
        let reason = format!("there are {MAX_FAULTS} faults, which is the limit");
        return Err(Failure::new(StatusCode::CONFLICT, reason));
    }
    let id = faults.share(fault.clone()).await?;
    control.inform();
    Ok(reply::json(StatusCode::CREATED, &show(id, &fault)))
}

/// `DELETE /faults`
pub(super) async fn clear(control: &Control) -> Answer {
    let _sharing = control.sharing.lock().await;
    control.gateway.faults.clear_shared().await?;
    control.inform();
    reply::no_content()
}

/// `DELETE /faults/{id}`
pub(super) async fn remove(control: &Control, id: &str) -> Answer {
    let _sharing = control.sharing.lock().await;
    let removed = match id.parse() {
        Ok(id) => control.gateway.faults.unshare(id).await?,
        Err(_) => false,
    };
    control.inform();
    match removed {
        true => reply::no_content(),
        false => Err(Failure::not_found(format!("there is no fault '{id}'"))),
    }
}

/// A fault with its id.
pub(super) fn show(id: u64, fault: &Fault) -> Value {
    let mut shown = json!({ "id": id });
    if let (Value::Object(shown), Ok(Value::Object(fields))) =
        (&mut shown, serde_json::to_value(fault))
    {
        shown.extend(fields);
    }
    shown
}
