//! Back ends of the hub: they change twins and send messages to devices.

use std::sync::Arc;

use dps_benches::TransportKind;
use serde_json::json;

use super::Load;
use crate::common::Result;
use crate::common::emulator::Emulator;
use crate::common::fleet::Fleet;

/// The prefixes of the keys in the record.
pub(super) const TWIN: &str = "twin/";
pub(super) const MESSAGE: &str = "message/";
/// The value of a message that is in the queue.
pub(super) const QUEUED: &str = "queued";
/// The devices with twins and messages.
pub(super) const NAMES: [&str; 4] = ["twin-0", "twin-1", "twin-2", "twin-3"];
/// The most messages for a device in a round. A queue has at most 50.
const MESSAGES: usize = 40;

/// Registers the devices.
pub(super) async fn prepare(emulator: &Emulator, fleet: &Fleet) -> Result<()> {
    for name in NAMES {
        fleet
            .register(name, TransportKind::Http, emulator.https_port())
            .await?;
    }
    Ok(())
}

/// Changes a tag of each twin until the emulator does not answer.
pub(super) async fn write_twins(load: Arc<Load>) {
    let _ended = twins(&load).await;
}

async fn twins(load: &Load) -> Result<()> {
    for number in 0_u64.. {
        let name = NAMES[number as usize % NAMES.len()];
        let (key, value) = (format!("{TWIN}{name}"), format!("{}-{number}", load.round));
        load.record.attempt(&key, &value)?;
        let patch = json!({ "tags": { "value": value } });
        let path = format!("/twins/{name}");
        let (status, twin) = load.hub.send("PATCH", &path, Some(&patch)).await?;
        if status != 200 {
            return Err(format!("a twin was not changed: {status}").into());
        }
        let version = twin["version"].to_string();
        load.record.acknowledge(&key, &value, &version)?;
    }
    Ok(())
}

/// Sends messages to the devices until the emulator does not answer.
pub(super) async fn send_messages(load: Arc<Load>) {
    let _ended = messages(&load).await;
}

async fn messages(load: &Load) -> Result<()> {
    for number in 0..NAMES.len() * MESSAGES {
        let name = NAMES[number % NAMES.len()];
        let body = format!("{}-{number}", load.round);
        let key = format!("{MESSAGE}{name}/{body}");
        load.record.attempt(&key, QUEUED)?;
        let status = load.hub.message(name, body).await?;
        if !(200..300).contains(&status) {
            return Err(format!("a message was not queued: {status}").into());
        }
        load.record.acknowledge(&key, QUEUED, "")?;
    }
    Ok(())
}
