//! Export and import of the state as one JSON document.

use dps_types::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Control;
use super::reply::{self, Answer, Failure};
use super::request::Ask;

/// The version of the document.
const VERSION: u64 = 1;
/// The largest document, in bytes: a million enrollments. An export is not larger than an import accepts.
const LIMIT: usize = 1024 * 1024 * 1024;

/// `GET /state`, with `keys` true (the default) or false.
pub(super) async fn export(control: &Control, ask: &Ask) -> Answer {
    let with_keys = match ask.parameter("keys")?.as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(other) => {
            let reason = format!("'{other}' is not a valid value of keys: true or false");
            return Err(Failure::invalid(reason));
        }
    };
    let instance = &control.gateway.instance;
    let tables = instance.state.export(with_keys).await?;
    let now: Timestamp = instance.now().into();
    let document = json!({
        "version": VERSION,
        "emulator": env!("CARGO_PKG_VERSION"),
        "exported": now,
        "idScope": instance.id_scope,
        "keys": with_keys,
        "tables": tables,
    });
    reply::ok_within(LIMIT, &document)
}

/// A state. Other fields are for readers.
#[derive(Deserialize)]
struct Document {
    version: u64,
    tables: Map<String, Value>,
}

/// `PUT /state`: replaces everything.
pub(super) async fn import(control: &Control, ask: Ask) -> Answer {
    let document: Document = ask.json(LIMIT).await?;
    if document.version != VERSION {
        return Err(Failure::invalid(format!(
            "the document has the version {}, and this emulator reads version {VERSION}",
            document.version
        )));
    }
    let gateway = &control.gateway;
    // Devices connect again, to what the document has.
    let state = &gateway.instance.state;
    state.import(&document.tables).await?;
    gateway.instance.hubs.disconnect_all();
    control.instances.resume().await?;
    reply::no_content()
}
