//! Exports and imports the documents of the store, and removes them.

#[cfg(test)]
mod tests;

use dps_types::Timestamp;
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
    /// The documents of each table by their keys. Documents that cannot be read are left out, and so are those that an import
    /// would refuse. Without keys, the symmetric keys of enrollments and of hub devices are left out, and the registrations of TPMs.
    pub(crate) async fn export(&self, with_keys: bool) -> Result<Map<String, Value>, ServiceError> {
        let now = self.now();
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
                    let Some(document) = document else {
                        continue;
                    };
                    match entries(table, &key, &document, now) {
                        Ok(_) => drop(documents.insert(key, document)),
                        Err(error) => {
                            let error = error.message();
                            tracing::error!(key, error, "not exported: an import would refuse it");
                        }
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
        let now = self.now();
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
                        read.push(entries(table, key, document, now)?);
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
fn entries(
    table: Table,
    key: &str,
    document: &Value,
    now: Timestamp,
) -> Result<Entries, ServiceError> {
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
        _ => device(table, key, document, now),
    }
}

/// A device or module. A hub relies on the limits of its twin, which only changes check.
fn device(
    table: Table,
    key: &str,
    document: &Value,
    now: Timestamp,
) -> Result<Entries, ServiceError> {
    let mut device: StoredDevice = typed(table, key, document)?;
    // In an earlier version, a patch could delete the time of a property.
    device.restore_twin_times(now);
    match device.has_valid_twin() {
        true => Ok(vec![(table, key.to_owned(), Some(encode(&device)?))]),
        false => Err(ServiceError::invalid(format!(
            "'{key}' of the table '{}' has a twin that exceeds a limit, or metadata that does not agree with its properties.",
            table.name()
        ))),
    }
}

fn enrollment<D: Document>(key: &str, document: &Value) -> Result<Entries, ServiceError> {
    let mut document: D = typed(D::TABLE, key, document)?;
    check_key(D::TABLE, key, &document.key())?;
    // An earlier version may have stored an endorsement key that is refused now.
    let stored = document.parts().attestation.clone();
    let stored = (stored.kind == AttestationType::Tpm).then_some(&stored);
    attestation::complete(document.parts().attestation, stored, D::IS_GROUP)?;
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
