//! Exports and imports the documents of the store, and removes them.

use dps_types::enrollment::{AttestationType, EnrollmentGroup, IndividualEnrollment};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::store::{Change, Expected, Table};
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
/// The tables that an import makes from the others.
const INDEXES: [Table; 3] = [Table::Members, Table::Operations, Table::Thumbprints];
/// The number of entries that are read or written at once.
const PAGE: usize = 500;

/// Entries to write.
type Entries = Vec<(Table, String, Vec<u8>)>;

impl State {
    /// The documents of each table by their keys. Documents that cannot be read are left out. Without keys, the symmetric keys
    /// of enrollments and of hub devices are left out, and the registrations of TPMs.
    pub(crate) async fn export(&self, with_keys: bool) -> Result<Map<String, Value>, ServiceError> {
        let mut tables = Map::new();
        for table in TABLES {
            let mut documents = Map::new();
            let mut after: Option<String> = None;
            loop {
                let page = self.store().scan(table, after.as_deref(), PAGE).await?;
                let is_last = page.len() < PAGE;
                for (key, bytes) in page {
                    let document: Option<Value> = decode_or_skip(&key, &bytes);
                    let document = document.and_then(|it| match with_keys {
                        true => Some(it),
                        false => without_keys(table, it),
                    });
                    if let Some(document) = document {
                        documents.insert(key.clone(), document);
                    }
                    after = Some(key);
                }
                if is_last {
                    break;
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
        let mut entries = Entries::new();
        for table in TABLES {
            match tables.get(table.name()) {
                None => {}
                Some(Value::Object(documents)) => {
                    for (key, document) in documents {
                        read(table, key, document, &mut entries)?;
                    }
                }
                Some(_) => {
                    let reason = format!("The table '{}' is not an object.", table.name());
                    return Err(ServiceError::invalid(reason));
                }
            }
        }
        for table in TABLES.into_iter().chain(INDEXES) {
            self.clear(table).await?;
        }
        for page in entries.chunks(PAGE) {
            let changes: Vec<Change<'_>> = page
                .iter()
                .map(|(table, key, value)| {
                    Change::put(*table, key, Expected::Anything, value.clone())
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

    /// Removes all registration records with their indexes.
    pub(crate) async fn clear_registrations(&self) -> Result<(), ServiceError> {
        for table in [Table::Registrations, Table::Members, Table::Operations] {
            self.clear(table).await?;
        }
        Ok(())
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

/// Checks a document and adds it with its entries in the indexes.
fn read(
    table: Table,
    key: &str,
    document: &Value,
    entries: &mut Entries,
) -> Result<(), ServiceError> {
    match table {
        Table::Individuals => enrollment::<IndividualEnrollment>(key, document, entries),
        Table::Groups => enrollment::<EnrollmentGroup>(key, document, entries),
        Table::Registrations => {
            let record: Record = typed(table, key, document)?;
            check_key(table, key, &record.registration_id.to_lowercase())?;
            if let Some(member) = members::key(&record) {
                entries.push((Table::Members, member, Vec::new()));
            }
            if record.pending.is_some() {
                entries.push((Table::Operations, key.to_owned(), Vec::new()));
            }
            entries.push((table, key.to_owned(), encode(&record)?));
            Ok(())
        }
        Table::HubMessages => keep::<QueuedMessage>(table, key, document, entries),
        Table::CaCertificates => keep::<CaCertificate>(table, key, document, entries),
        _ => keep::<StoredDevice>(table, key, document, entries),
    }
}

fn enrollment<D: Document>(
    key: &str,
    document: &Value,
    entries: &mut Entries,
) -> Result<(), ServiceError> {
    let mut document: D = typed(D::TABLE, key, document)?;
    check_key(D::TABLE, key, &document.key())?;
    attestation::complete(document.parts().attestation, None, D::IS_GROUP)?;
    for certificate in unique::certificates(&document) {
        entries.push((Table::Thumbprints, certificate, key.as_bytes().to_vec()));
    }
    entries.push((D::TABLE, key.to_owned(), encode(&document)?));
    Ok(())
}

fn keep<T: Serialize + DeserializeOwned>(
    table: Table,
    key: &str,
    document: &Value,
    entries: &mut Entries,
) -> Result<(), ServiceError> {
    let document: T = typed(table, key, document)?;
    entries.push((table, key.to_owned(), encode(&document)?));
    Ok(())
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
