//! The stored records and the import of a state, for the targets of `fuzz/`.

use std::sync::Arc;

use dps_types::SystemClock;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::store::{MemoryStore, Table};
use super::{Record, State, decode, encode};
use crate::ca_certificates::CaCertificate;
use crate::control::RecorderState;
use crate::fault::Fault;
use crate::hub::{QueuedMessage, StoredDevice};
use crate::instances;
use crate::issuance::fuzzing::check_keys;
use crate::limits::Limits;
use crate::provision::StoredChallenge;
use crate::replica::Envelope;

/// Reads a stored record of a kind, and checks that it can be written again and is then read as the same record.
pub fn check_record(kind: u8, bytes: &[u8]) {
    match kind {
        b'i' => check::<IndividualEnrollment>(bytes),
        b'g' => check::<EnrollmentGroup>(bytes),
        b'r' => check::<Record>(bytes),
        b'd' => check::<StoredDevice>(bytes),
        b'm' => check::<QueuedMessage>(bytes),
        b'c' => check::<CaCertificate>(bytes),
        b's' => check::<instances::Record>(bytes),
        b'f' => check::<Fault>(bytes),
        b'o' => check::<RecorderState>(bytes),
        b'e' => check::<Envelope>(bytes),
        b't' => check::<StoredChallenge>(bytes),
        b'k' => check_keys(bytes),
        _ => {}
    }
}

fn check<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(read) = decode::<T>(bytes) else {
        return;
    };
    let written = encode(&read).expect("a record that was read can be stored");
    let again: T = decode(&written).expect("a stored record can be read");
    assert_eq!(encode(&again).expect("it can be stored"), written);
}

/// Imports the tables of a state. If they are accepted, checks that every record can be read and listed, and that the exported
/// state is imported as the same state.
pub async fn check_import(text: &[u8]) {
    let Ok(tables) = serde_json::from_slice::<Map<String, Value>>(text) else {
        return;
    };
    let first = state();
    if first.import(&tables).await.is_err() {
        return;
    }
    let exported = first.export(true).await.expect("an export");
    let count = |table: Table| exported[table.name()].as_object().map_or(0, Map::len);
    let individuals: Vec<IndividualEnrollment> = first.enrollments().await.expect("a list");
    assert_eq!(individuals.len(), count(Table::Individuals));
    let groups: Vec<EnrollmentGroup> = first.enrollments().await.expect("a list");
    assert_eq!(groups.len(), count(Table::Groups));
    let records = first.all_registrations(None, 10_000).await;
    assert_eq!(
        records.expect("a list").items.len(),
        count(Table::Registrations)
    );

    let written = serde_json::to_vec(&exported).expect("JSON");
    let read: Map<String, Value> = serde_json::from_slice(&written).expect("an export can be read");
    let second = state();
    second
        .import(&read)
        .await
        .expect("an export can be imported");
    assert_eq!(second.export(true).await.expect("an export"), exported);
    second
        .clear_registrations()
        .await
        .expect("it can be deleted");
    second
        .clear_enrollments::<IndividualEnrollment>()
        .await
        .expect("it can be deleted");
    second
        .clear_enrollments::<EnrollmentGroup>()
        .await
        .expect("it can be deleted");
    let left = second.store().count(Table::Thumbprints).await;
    assert_eq!(left.expect("a count"), 0, "no index entry is left");
}

fn state() -> State {
    State::new(
        Arc::new(MemoryStore::new()),
        Arc::new(SystemClock),
        Limits::default(),
    )
}
