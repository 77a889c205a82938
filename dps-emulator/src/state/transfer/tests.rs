//! Exports and imports: records and entries that agree, documents of earlier versions, twins.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dps_types::SystemClock;
use dps_types::enrollment::{AttestationMechanism, ProvisioningStatus};
use dps_types::protocol::IfMatch;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use super::*;
use crate::limits::Limits;
use crate::state::decode;
use crate::state::store::{Action, MemoryStore, Store, StoreError};

/// A store that panics if, after a change, an operation in progress has no entry, or an entry has no operation in progress.
#[derive(Debug, Default)]
struct Agreeing {
    store: MemoryStore,
    /// A registration that is written just before the first records of an import.
    racing: Mutex<Vec<(Table, Vec<u8>)>>,
}

#[async_trait]
impl Store for Agreeing {
    async fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(table, key).await
    }

    async fn apply(&self, changes: &[Change<'_>]) -> Result<bool, StoreError> {
        let is_put = |it: &Change<'_>| {
            it.table == Table::Registrations && matches!(it.action, Action::Put(_))
        };
        if changes.iter().any(is_put) {
            let racing = std::mem::take(&mut *self.racing.lock().expect("not poisoned"));
            for (table, value) in racing {
                let any = Expected::Anything;
                self.store.put(table, "d1", any, value).await?;
            }
        }
        let applied = self.store.apply(changes).await?;
        let records = self.scan(Table::Registrations, None, usize::MAX).await?;
        let is_pending = |bytes: &[u8]| {
            let record: Record = decode(bytes).expect("a record");
            record.pending.is_some()
        };
        let pending = records.iter().filter(|(_, bytes)| is_pending(bytes));
        let pending: Vec<&String> = pending.map(|(key, _)| key).collect();
        let entries = self.scan(Table::Operations, None, usize::MAX).await?;
        let entries: Vec<&String> = entries.iter().map(|(key, _)| key).collect();
        assert_eq!(pending, entries);
        Ok(applied)
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.scan(table, after, limit).await
    }
}

fn record(id: usize, pending: bool) -> Value {
    json!({
        "registration_id": format!("d{id}"),
        "enrollment": { "Group": "g1" },
        "proof": "SymmetricKey",
        "created": "2026-01-01T00:00:00Z",
        "last_updated": "2026-01-01T00:00:00Z",
        "etag": "\"1\"",
        "operation": format!("5.{id}"),
        "pending": pending.then(|| json!({ "payload": null, "api_version": "2021-06-01" })),
        "hub": null,
        "device_id": null,
        "hub_key": null,
        "outcome": null,
    })
}

fn tables(records: impl Iterator<Item = Value>) -> Map<String, Value> {
    let key = |record: &Value| record["registration_id"].as_str().map(str::to_owned);
    let records: Map<String, Value> = records.filter_map(|it| Some((key(&it)?, it))).collect();
    let name = Table::Registrations.name().to_owned();
    Map::from_iter([(name, records.into())])
}

/// Otherwise a registration at the same time could stay in progress without an entry, and never end.
#[tokio::test]
async fn records_and_entries_agree_during_an_import_and_a_reset() {
    let store = Arc::new(Agreeing::default());
    let state = State::new(store.clone(), Arc::new(SystemClock), Limits::default());
    // More than one page.
    let imported = tables((0..PAGE + 1).map(|id| record(id, id % 2 == 0)));
    state.import(&imported).await.expect("imported");
    let count = store.scan(Table::Operations, None, usize::MAX).await;
    assert_eq!(count.expect("entries").len(), PAGE / 2 + 1);

    // The same devices, with other operations in progress.
    let imported = tables((0..PAGE + 1).map(|id| record(id, id % 2 == 1)));
    state.import(&imported).await.expect("imported again");
    state.clear_registrations().await.expect("removed");
    for table in [Table::Registrations, Table::Members, Table::Operations] {
        assert_eq!(store.count(table).await.expect("counted"), 0, "{table:?}");
    }
}

#[tokio::test]
async fn an_import_replaces_a_registration_that_is_written_at_the_same_time() {
    let pending: Record = serde_json::from_value(record(1, true)).expect("a record");
    let racing = vec![
        (Table::Registrations, encode(&pending).expect("encoded")),
        (Table::Operations, b"replica 5.1".to_vec()),
    ];
    let store = Arc::new(Agreeing {
        racing: Mutex::new(racing),
        ..Agreeing::default()
    });
    let state = State::new(store.clone(), Arc::new(SystemClock), Limits::default());
    let done = tables([record(1, false)].into_iter());
    state.import(&done).await.expect("imported");
    assert_eq!(store.count(Table::Operations).await.expect("counted"), 0);
    assert!(store.racing.lock().expect("not poisoned").is_empty());
}

/// A valid document of each table but the last three, and its key.
fn valid(table: Table) -> (&'static str, Value) {
    let at = "2026-01-01T00:00:00Z";
    let keys = json!({ "primaryKey": "A".repeat(44), "secondaryKey": "B".repeat(44) });
    let attestation = json!({ "type": "symmetricKey", "symmetricKey": keys });
    match table {
        Table::Individuals => (
            "d1",
            json!({ "registrationId": "d1", "attestation": attestation, "etag": "IjEi" }),
        ),
        Table::Groups => (
            "g1",
            json!({ "enrollmentGroupId": "g1", "attestation": attestation, "etag": "IjEi" }),
        ),
        Table::Registrations => ("d1", record(1, true)),
        Table::Hubs => {
            let section = json!({
                "values": { "a": 1 },
                "metadata": { "$lastUpdated": at, "a": { "$lastUpdated": at } },
                "version": 2,
            });
            let twin = json!({
                "tags": {}, "desired": section, "reported": section, "version": 3, "etag_counter": 2,
            });
            let device = json!({
                "device_id": "d1", "generation_id": "1", "etag": "abc", "enabled": true,
                "status_updated": null, "authentication": { "Sas": { "primary": "", "secondary": null } },
                "iot_edge": false, "twin": twin,
            });
            ("hub/d1", device)
        }
        _ => ("k", json!({})),
    }
}

/// Replaces one value at any depth.
fn change(document: &mut Value, at: &Index, to: Value) {
    let inner: Vec<&mut Value> = match document {
        Value::Object(members) => members.values_mut().collect(),
        Value::Array(items) => items.iter_mut().collect(),
        _ => Vec::new(),
    };
    let place = at.index(inner.len() + 1);
    match inner.into_iter().nth(place) {
        Some(inner) => change(inner, at, to),
        None => *document = to,
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,9}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!({ "later": 1 })),
    ]
}

proptest! {
    /// The store may have documents of another version, and documents that something else has damaged.
    #[test]
    fn every_export_can_be_imported(
        changes in vec((0..TABLES.len(), any::<Index>(), any_json(), any::<bool>()), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            let new = || State::new(Arc::new(MemoryStore::new()), Arc::new(SystemClock), Limits::default());
            let state = new();
            let mut valid_documents = 0;
            for table in &TABLES[..4] {
                let (key, document) = valid(*table);
                put(&state, *table, key, &document).await;
                valid_documents += 1;
            }
            for (index, (table, at, to, other_key)) in changes.into_iter().enumerate() {
                let table = TABLES[table];
                let (key, mut document) = valid(table);
                change(&mut document, &at, to);
                let key = if other_key { format!("{key}{index}") } else { format!("x{index}") };
                put(&state, table, &key, &document).await;
            }
            for with_keys in [true, false] {
                let exported = state.export(with_keys).await.expect("exported");
                let count = |tables: &Map<String, Value>| -> usize {
                    tables.values().filter_map(Value::as_object).map(Map::len).sum()
                };
                assert!(count(&exported) >= valid_documents);
                let other = new();
                other.import(&exported).await.expect("imported");
                let again = other.export(true).await.expect("exported");
                assert_eq!(count(&again), count(&exported));
            }
        });
    }
}

async fn put(state: &State, table: Table, key: &str, document: &Value) {
    let bytes = document.to_string().into_bytes();
    let put = state.store().put(table, key, Expected::Anything, bytes);
    assert!(put.await.expect("written"));
}

#[tokio::test]
async fn an_endorsement_key_of_an_earlier_version_is_kept() {
    let store = Arc::new(MemoryStore::new());
    let state = State::new(store, Arc::new(SystemClock), Limits::default());
    let enrollment = json!({
        "registrationId": "d1",
        "attestation": { "type": "tpm", "tpm": { "endorsementKey": "AToA" } },
        "etag": "IjEi",
    });
    let table = Table::Individuals.name().to_owned();
    let tables = Map::from_iter([(table, json!({ "d1": enrollment }))]);
    state.import(&tables).await.expect("imported");

    let read = state.required_enrollment("d1").await;
    let mut document: IndividualEnrollment = read.expect("imported");
    document.provisioning_status = Some(ProvisioningStatus::Disabled);
    let any = Some(&IfMatch::Any);
    let put = state.put_enrollment(document.clone(), any, &[]).await;
    put.expect("the key is the same");

    document.attestation = AttestationMechanism::tpm("AToB");
    let refused = state.put_enrollment(document, any, &[]).await;
    let refused = refused.expect_err("another key");
    assert_eq!(refused.code().get(), 400_004);
}

#[tokio::test]
async fn an_import_refuses_a_twin_that_a_hub_cannot_have_made() {
    let at = "2026-01-01T00:00:00Z";
    let section = json!({
        "values": { "a": 1 },
        "metadata": { "$lastUpdated": at, "a": { "$lastUpdated": at } },
        "version": 2,
    });
    let device = json!({
        "device_id": "d1", "generation_id": "1", "etag": "abc", "enabled": true, "status_updated": null,
        "authentication": { "Sas": { "primary": "", "secondary": null } }, "iot_edge": false,
        "twin": { "tags": {}, "desired": section, "reported": section, "version": 3, "etag_counter": 2 },
    });
    let store = Arc::new(MemoryStore::new());
    let state = State::new(store.clone(), Arc::new(SystemClock), Limits::default());
    for table in [Table::Hubs, Table::HubModules] {
        let import = |device: Value| {
            let devices = json!({ "hub/d1": device });
            Map::from_iter([(table.name().to_owned(), devices)])
        };
        state.import(&import(device.clone())).await.expect("valid");
        for (place, value) in [
            ("/twin/desired/metadata/$lastUpdated", Value::Null),
            ("/twin/reported/metadata/a", Value::Null),
            ("/twin/desired/values", json!({ "a": 1, "$b": 2 })),
            ("/twin/tags", json!({ "a": "x".repeat(9000) })),
        ] {
            let mut changed = device.clone();
            *changed.pointer_mut(place).expect("it exists") = value;
            let refused = state.import(&import(changed)).await.expect_err(place);
            assert!(refused.message().contains("'hub/d1'"), "{refused:?}");
        }
        assert_eq!(store.count(table).await.expect("counted"), 1);
    }
}

/// A patch with `{"$lastUpdated": null}` was accepted in an earlier version.
#[tokio::test]
async fn an_import_restores_the_times_that_an_earlier_version_deleted() {
    let (whole, inner) = ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z");
    let section = |whole: &Value, inner: &Value| {
        json!({
            "values": { "a": { "b": { "c": 1 } } },
            "metadata": { "a": { "b": { "c": {} }, "$lastUpdated": inner }, "$lastUpdated": whole },
            "version": 2,
        })
    };
    let without = |mut section: Value, place: &str| {
        let metadata = section.pointer_mut(place).and_then(Value::as_object_mut);
        metadata.expect("it exists").shift_remove("$lastUpdated");
        section
    };
    let desired = section(&json!(whole), &json!(inner));
    let reported = without(desired.clone(), "/metadata/a");
    let without_any = without(reported.clone(), "/metadata");
    let store = Arc::new(MemoryStore::new());
    let state = State::new(store, Arc::new(SystemClock), Limits::default());
    for (name, desired) in [("hub/d1", &desired), ("hub/d2", &without_any)] {
        let device = json!({
            "device_id": "d", "generation_id": "1", "etag": "abc", "enabled": true, "status_updated": null,
            "authentication": { "Sas": { "primary": "", "secondary": null } }, "iot_edge": false,
            "twin": { "tags": {}, "desired": desired, "reported": reported, "version": 3, "etag_counter": 2 },
        });
        let tables = Map::from_iter([(Table::Hubs.name().to_owned(), json!({ name: device }))]);
        let before = state.now();
        state.import(&tables).await.expect("imported");
        let exported = state.export(true).await.expect("exported");
        let twin = &exported[Table::Hubs.name()][name]["twin"];
        let time = |place: &str| -> Timestamp {
            let time = twin.pointer(place).and_then(Value::as_str);
            time.expect("a time").parse().expect("a time")
        };
        let at = |text: &str| -> Timestamp { text.parse().expect("a time") };
        let of_c = time("/desired/metadata/a/b/c/$lastUpdated");
        match name {
            "hub/d1" => assert_eq!(of_c, at(inner)),
            _ => {
                assert!(of_c.unix_seconds() >= before.unix_seconds(), "{of_c}");
                assert_eq!(of_c, time("/desired/metadata/$lastUpdated"));
            }
        }
        assert_eq!(time("/reported/metadata/$lastUpdated"), at(whole));
        assert_eq!(time("/reported/metadata/a/b/c/$lastUpdated"), at(whole));
    }
}
