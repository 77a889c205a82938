//! Starts and stops the recording of exchanges, and sends it.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Control;
use super::reply::{self, Answer, Failure};
use super::request::{Ask, BODY_LIMIT};

/// The version of the document.
pub(super) const VERSION: u64 = 1;

/// A change of the recorder.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    recording: bool,
    /// Whether a new recording has keys.
    #[serde(default)]
    keys: bool,
}

/// `POST /recording`: starts a new recording, or stops.
pub(super) async fn change(control: &Control, ask: Ask) -> Answer {
    let change: Change = ask.json(BODY_LIMIT).await?;
    let _sharing = control.sharing.lock().await;
    let gateway = &control.gateway;
    match change.recording {
        true => gateway
            .shared
            .recorder
            .start(gateway.instance.now().into(), change.keys),
        false => gateway.shared.recorder.stop(),
    }
    control.share_recorder().await?;
    let recording = gateway.shared.recorder.read();
    reply::ok(&json!({
        "recording": gateway.shared.recorder.is_on(),
        "keys": recording.has_keys,
        "exchanges": recording.exchanges.len(),
        "dropped": recording.dropped,
    }))
}

/// `GET /recording`: the document.
pub(super) fn read(control: &Control) -> Answer {
    let gateway = &control.gateway;
    let recording = gateway.shared.recorder.read();
    let Some(started) = recording.started else {
        return Err(Failure::not_found(
            "there is no recording: POST /recording with {\"recording\": true} starts one",
        ));
    };
    let head = json!({
        "version": VERSION,
        "emulator": env!("CARGO_PKG_VERSION"),
        "started": started,
        "recording": gateway.shared.recorder.is_on(),
        "idScope": gateway.instance.id_scope,
        "keys": recording.has_keys,
        "dropped": recording.dropped,
        "exchanges": Value::Array(Vec::new()),
    });
    // The exchanges are JSON already.
    let head = head.to_string();
    let head = head.strip_suffix("]}").unwrap_or(&head);
    let exchanges = recording
        .exchanges
        .into_iter()
        .map(|(_, exchange)| exchange);
    let exchanges: Vec<String> = exchanges.collect();
    let document = format!("{head}{}]}}", exchanges.join(",\n"));
    reply::text("application/json", Bytes::from(document))
}

/// `DELETE /recording`: stops, and forgets the recording.
pub(super) async fn clear(control: &Control) -> Answer {
    let _sharing = control.sharing.lock().await;
    control.gateway.shared.recorder.clear();
    control.share_recorder().await?;
    reply::no_content()
}
