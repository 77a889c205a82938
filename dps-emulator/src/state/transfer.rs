//! Exports and imports the documents of the store, and removes them.

use dps_types::enrollment::{AttestationType, EnrollmentGroup, IndividualEnrollment};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::store::{Change, Expected, Pages, Partition, Table};
use super::{Document, Record, State, attestation, decode_or_skip, encode, members, unique};
use crate::attest::Proof;
use crate::ca_certificates::CaCertificate;
use crate::hub::{QueuedMessage, StoredDevice};
use crate::service_error::ServiceError;

/// The tables that are exported. The others are indexes, which an import makes again, and generated keys of policies.
const TABLES: [Table; 7] = [
    Table::Individuals,
    Table::Groups,
    Table::Registrations,
    Table::Hubs,
    Table::HubModules,
    Table::HubMessages,
    Table::CaCertificates,
];
/// The number of entries that are read or written at once.
const PAGE: usize = 500;

/// A document with its entries in the indexes, which are written in one change. An entry without a value is deleted.
type Entries = Vec<(Table, String, Option<Vec<u8>>)>;

impl State {
    /// The documents of each table by their keys. Documents that cannot be read are left out. Without keys, the symmetric keys
    /// of enrollments and of hub devices are left out, and the registrations of TPMs.
    pub(crate) async fn export(&self, with_keys: bool) -> Result<Map<String, Value>, ServiceError> {
        let mut tables = Map::new();
        for table in TABLES {
            let mut documents = Map::new();
            let mut pages = Pages::all(&**self.store(), table);
            while let Some(page) = pages.next().await? {
                for (key, bytes) in page {
                    let document: Option<Value> = decode_or_skip(&key, &bytes);
                    let document = document.and_then(|it| match with_keys {
                        true => Some(it),
                        false => without_keys(table, it),
                    });
                    if let Some(document) = document {
                        documents.insert(key, document);
                    }
                }
            }
            tables.insert(table.name().to_owned(), documents.into());
        }
        Ok(tables)
    }

    /// Replaces all documents. Every document is checked before anything is changed. A missing symmetric key of an enrollment
    /// is generated.
    pub(crate) async fn import(&self, tables: &Map<String, Value>) -> Result<(), ServiceError> {
        let known = |name: &String| TABLES.iter().any(|table| table.name() == name);
        if let Some(name) = tables.keys().find(|name| !known(name)) {
            return Err(ServiceError::invalid(format!("'{name}' is not a table.")));
        }
        let mut read = Vec::new();
        for table in TABLES {
            match tables.get(table.name()) {
                None => {}
                Some(Value::Object(documents)) => {
                    for (key, document) in documents {
                        if !Partition::is_own(key) {
                            return Err(ServiceError::invalid(format!(
                                "The key '{key}' of the table '{}' belongs to another instance.",
                                table.name()
                            )));
                        }
                        read.push(entries(table, key, document)?);
                    }
                }
                Some(_) => {
                    let reason = format!("The table '{}' is not an object.", table.name());
                    return Err(ServiceError::invalid(reason));
                }
            }
        }
        self.clear_registrations().await?;
        for table in TABLES.into_iter().chain([Table::Thumbprints]) {
            self.clear(table).await?;
        }
        for page in read.chunks(PAGE) {
            let changes: Vec<Change<'_>> = page
                .iter()
                .flatten()
                .map(|(table, key, value)| match value {
                    Some(value) => Change::put(*table, key, Expected::Anything, value.clone()),
                    None => Change::delete(*table, key, Expected::Anything),
                })
                .collect();
            self.store().apply(&changes).await?;
        }
        Ok(())
    }

    /// Removes all entries of a table.
    pub(crate) async fn clear(&self, table: Table) -> Result<(), ServiceError> {
        loop {
            let page = self.store().scan(table, None, PAGE).await?;
            let changes: Vec<Change<'_>> = page
                .iter()
                .map(|(key, _)| Change::delete(table, key, Expected::Anything))
                .collect();
            self.store().apply(&changes).await?;
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Removes all registration records, each in one change with its entries in the indexes: a record without its entry in the
    /// table of operations would stay in progress, and a device may register at the same time.
    pub(crate) async fn clear_registrations(&self) -> Result<(), ServiceError> {
        loop {
            let page = self.store().scan(Table::Registrations, None, PAGE).await?;
            let member = |(key, bytes): &(String, Vec<u8>)| {
                let record: Option<Record> = decode_or_skip(key, bytes);
                record.as_ref().and_then(members::key)
            };
            let members: Vec<Option<String>> = page.iter().map(member).collect();
            let changes: Vec<Change<'_>> = page
                .iter()
                .zip(&members)
                .flat_map(|((key, _), member)| {
                    let mut changes = members::changes(member.as_deref(), None);
                    for table in [Table::Registrations, Table::Operations] {
                        changes.push(Change::delete(table, key, Expected::Anything));
                    }
                    changes
                })
                .collect();
            self.store().apply(&changes).await?;
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Deletes all enrollments of a kind.
    pub(crate) async fn clear_enrollments<D: Document>(&self) -> Result<(), ServiceError> {
        loop {
            let page = self.store().scan(D::TABLE, None, PAGE).await?;
            for (key, _) in &page {
                match self.delete_enrollment::<D>(key, None).await {
                    Err(error) if error.code() != D::MISSING.0 => return Err(error),
                    _ => {}
                }
            }
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }
}

/// Checks a document and makes its entries in the indexes.
fn entries(table: Table, key: &str, document: &Value) -> Result<Entries, ServiceError> {
    match table {
        Table::Individuals => enrollment::<IndividualEnrollment>(key, document),
        Table::Groups => enrollment::<EnrollmentGroup>(key, document),
        Table::Registrations => {
            let record: Record = typed(table, key, document)?;
            check_key(table, key, &record.registration_id.to_lowercase())?;
            let operation = record.pending.is_some().then(Vec::new);
            let mut entries = vec![
                (table, key.to_owned(), Some(encode(&record)?)),
                (Table::Operations, key.to_owned(), operation),
            ];
            if let Some(member) = members::key(&record) {
                entries.push((Table::Members, member, Some(Vec::new())));
            }
            Ok(entries)
        }
        Table::HubMessages => keep::<QueuedMessage>(table, key, document),
        Table::CaCertificates => keep::<CaCertificate>(table, key, document),
        _ => keep::<StoredDevice>(table, key, document),
    }
}

fn enrollment<D: Document>(key: &str, document: &Value) -> Result<Entries, ServiceError> {
    let mut document: D = typed(D::TABLE, key, document)?;
    check_key(D::TABLE, key, &document.key())?;
    attestation::complete(document.parts().attestation, None, D::IS_GROUP)?;
    let certificates = unique::certificates(&document).into_iter();
    let mut entries: Entries = certificates
        .map(|certificate| {
            let value = Some(key.as_bytes().to_vec());
            (Table::Thumbprints, certificate, value)
        })
        .collect();
    entries.push((D::TABLE, key.to_owned(), Some(encode(&document)?)));
    Ok(entries)
}

fn keep<T: Serialize + DeserializeOwned>(
    table: Table,
    key: &str,
    document: &Value,
) -> Result<Entries, ServiceError> {
    let document: T = typed(table, key, document)?;
    Ok(vec![(table, key.to_owned(), Some(encode(&document)?))])
}

fn typed<T: DeserializeOwned>(
    table: Table,
    key: &str,
    document: &Value,
) -> Result<T, ServiceError> {
    T::deserialize(document).map_err(|error| {
        let name = table.name();
        ServiceError::invalid(format!(
            "'{key}' of the table '{name}' is not valid: {error}."
        ))
    })
}

fn check_key(table: Table, key: &str, own: &str) -> Result<(), ServiceError> {
    match key == own {
        true => Ok(()),
        false => Err(ServiceError::invalid(format!(
            "'{key}' of the table '{}' is a document with the id '{own}'.",
            table.name()
        ))),
    }
}

/// The document without symmetric keys; `None` if it is of no use without them.
fn without_keys(table: Table, mut document: Value) -> Option<Value> {
    match table {
        Table::Individuals | Table::Groups => {
            let attestation = document.get_mut("attestation")?.as_object_mut()?;
            let kind = attestation.get("type").and_then(Value::as_str);
            if kind == Some(AttestationType::SymmetricKey.to_string().as_str()) {
                attestation.remove("symmetricKey");
            }
        }
        Table::Registrations => {
            let record = Record::deserialize(&document).ok()?;
            if let Proof::Tpm(_) = record.proof {
                return None;
            }
        }
        Table::Hubs | Table::HubModules => {
            if let Some(keys) = document.pointer_mut("/authentication/Sas") {
                // No device has this key. The next registration replaces it.
                *keys = serde_json::json!({ "primary": "", "secondary": null });
            }
        }
        _ => {}
    }
    Some(document)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use dps_types::SystemClock;
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
}
