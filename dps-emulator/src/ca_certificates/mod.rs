//! The CA certificates of the instance: upload, proof of possession, deletion; and those of the configuration.
//!
//! Source: the certificate operations of the control plane, api-version 2022-12-12; what they answer, as recorded in
//! azure-cli, `test_dps_certificate_lifecycle.yaml`.

mod parsed;
mod possession;
mod record;

use dps_types::ErrorCode;
use dps_types::protocol::IfMatch;
use tokio::sync::Mutex;

use parsed::Parsed;
pub(crate) use record::CaCertificate;

use crate::attest::VerifiedCa;
use crate::certificate::{Certificate, CertificateError};
use crate::service_error::ServiceError;
use crate::state::store::{Change, Expected, Table};
use crate::state::{State, Turn, decode_or_skip};

/// The number of attempts to write a new CA if other emulators write at the same time.
const ATTEMPTS: usize = 10;
/// More than an instance can have.
const ALL: usize = 100_000;
/// The longest name. Source: `certificateName` in the swagger document.
const LONGEST_NAME: usize = 256;

/// The CA certificates of the instance.
#[derive(Debug)]
pub(crate) struct CaCertificates {
    state: State,
    /// The ones of the configuration: verified, and read-only.
    configured: Vec<CaCertificate>,
    parsed: Parsed,
    /// Held during a write, so that the quota is exact.
    writing: Mutex<()>,
}

/// A certificate as it was read. Writing it back fails if it has changed in the meantime.
struct Stored {
    ca: CaCertificate,
    bytes: Vec<u8>,
}

impl CaCertificates {
    pub(crate) fn new(state: State, configured: &[VerifiedCa]) -> Self {
        let configured = configured
            .iter()
            .map(|VerifiedCa { name, certificate }| {
                let mut ca = CaCertificate::new(name, certificate, &state);
                ca.is_verified = true;
                ca
            })
            .collect();
        Self {
            state,
            configured,
            parsed: Parsed::default(),
            writing: Mutex::default(),
        }
    }

    /// Lists all, the ones of the configuration first.
    pub(crate) async fn list(&self) -> Result<Vec<CaCertificate>, ServiceError> {
        let store = self.state.store();
        let entries = store.scan(Table::CaCertificates, None, ALL).await?;
        let mut all = self.configured.clone();
        for (key, bytes) in entries {
            let ca = decode_or_skip::<CaCertificate>(&key, &bytes);
            all.extend(ca.filter(|ca| self.configured(&ca.name).is_none()));
        }
        Ok(all)
    }

    /// Lists the ones with a proof of possession.
    pub(crate) async fn verified(&self) -> Result<Vec<VerifiedCa>, ServiceError> {
        let all = self.list().await?.into_iter();
        Ok(self.parsed.all(all.filter(|ca| ca.is_verified)))
    }

    pub(crate) async fn get(&self, name: &str) -> Result<CaCertificate, ServiceError> {
        match self.configured(name) {
            Some(ca) => Ok(ca.clone()),
            None => Ok(self.stored(name).await?.ok_or_else(missing)?.ca),
        }
    }

    /// Creates a certificate, or replaces the one with the version of the condition.
    pub(crate) async fn put(
        &self,
        name: &str,
        text: &str,
        is_verified: bool,
        condition: Option<&IfMatch>,
    ) -> Result<CaCertificate, ServiceError> {
        check_name(name)?;
        self.check_free(name)?;
        let certificate = self.readable(Certificate::issuer_from_text(text))?;
        let _writing = self.writing.lock().await;
        let mut ca = CaCertificate::new(name, &certificate, &self.state);
        ca.is_verified = is_verified;
        let Some(before) = self.stored(name).await? else {
            return self.insert(ca).await;
        };
        check_version(&before.ca, condition)?;
        // A proof of possession stays valid for the same certificate.
        ca.is_verified |= before.ca.is_verified && before.ca.is_same(&ca);
        ca.name.clone_from(&before.ca.name);
        ca.created = before.ca.created;
        self.write(ca, Some(&before)).await
    }

    /// Returns true if there was one to delete. Like the service, it does not check whether an enrollment refers to it.
    pub(crate) async fn delete(
        &self,
        name: &str,
        condition: Option<&IfMatch>,
    ) -> Result<bool, ServiceError> {
        self.check_free(name)?;
        let _writing = self.writing.lock().await;
        let Some(before) = self.stored(name).await? else {
            return Ok(false);
        };
        check_version(&before.ca, condition)?;
        let key = key(name);
        let change = Change::delete(
            Table::CaCertificates,
            &key,
            Expected::Exactly(&before.bytes),
        );
        match self.state.store().apply(&[change]).await? {
            true => Ok(true),
            false => Err(ServiceError::precondition()),
        }
    }

    /// Notes a new code, which a certificate that the CA signs must bear as its common name.
    pub(crate) async fn generate_code(
        &self,
        name: &str,
        condition: Option<&IfMatch>,
    ) -> Result<CaCertificate, ServiceError> {
        self.change(name, condition, |ca| {
            ca.verification_code = Some(possession::new_code());
            Ok(())
        })
        .await
    }

    /// Accepts a certificate that the CA signed, with the code as its common name, as the proof of possession of its key.
    pub(crate) async fn verify(
        &self,
        name: &str,
        text: &str,
        condition: Option<&IfMatch>,
    ) -> Result<CaCertificate, ServiceError> {
        let proof = self.readable(Certificate::from_text(text))?;
        let now = self.state.moment();
        self.change(name, condition, |ca| {
            let certificate = ca.certificate();
            let (Some(code), Some(certificate)) = (&ca.verification_code, &certificate) else {
                return Err(ServiceError::invalid("Generate a verification code first."));
            };
            possession::check(&proof, code, certificate, now).map_err(ServiceError::invalid)?;
            ca.is_verified = true;
            ca.verification_code = None;
            Ok(())
        })
        .await
    }

    async fn change(
        &self,
        name: &str,
        condition: Option<&IfMatch>,
        change: impl FnOnce(&mut CaCertificate) -> Result<(), ServiceError>,
    ) -> Result<CaCertificate, ServiceError> {
        self.check_free(name)?;
        let _writing = self.writing.lock().await;
        let before = self.stored(name).await?.ok_or_else(missing)?;
        check_version(&before.ca, condition)?;
        let mut ca = before.ca.clone();
        change(&mut ca)?;
        self.write(ca, Some(&before)).await
    }

    async fn write(
        &self,
        ca: CaCertificate,
        before: Option<&Stored>,
    ) -> Result<CaCertificate, ServiceError> {
        self.write_with(ca, before, None).await
    }

    async fn write_with(
        &self,
        mut ca: CaCertificate,
        before: Option<&Stored>,
        other: Option<Change<'_>>,
    ) -> Result<CaCertificate, ServiceError> {
        ca.updated = self.state.now();
        ca.etag = self.state.new_version();
        let key = key(&ca.name);
        let expected = before.map_or(Expected::Absent, |it| Expected::Exactly(&it.bytes));
        let change = Change::put(Table::CaCertificates, &key, expected, record::write(&ca)?);
        let changes: Vec<_> = other.into_iter().chain([change]).collect();
        match self.state.store().apply(&changes).await? {
            true => Ok(ca),
            false => Err(ServiceError::precondition()),
        }
    }

    async fn stored(&self, name: &str) -> Result<Option<Stored>, ServiceError> {
        let store = self.state.store();
        match store.get(Table::CaCertificates, &key(name)).await? {
            Some(bytes) => {
                let ca = record::read(&bytes)?;
                Ok(Some(Stored { ca, bytes }))
            }
            None => Ok(None),
        }
    }

    /// Requires a certificate that was read and has not expired.
    fn readable(
        &self,
        read: Result<Certificate, CertificateError>,
    ) -> Result<Certificate, ServiceError> {
        let certificate = read.map_err(|error| {
            ServiceError::invalid(format!("The certificate cannot be used: {error}."))
        })?;
        match certificate.has_expired(self.state.moment()) {
            false => Ok(certificate),
            true => Err(ServiceError::invalid("The certificate has expired.")),
        }
    }

    /// Writes a new CA, if the quota permits it.
    async fn insert(&self, ca: CaCertificate) -> Result<CaCertificate, ServiceError> {
        for _ in 0..ATTEMPTS {
            let turn = self.state.turn("CA certificates").await?;
            self.check_quota().await?;
            let turn_change = turn.as_ref().map(Turn::change);
            let written = self.write_with(ca.clone(), None, turn_change).await;
            if turn.is_none() || written.is_ok() {
                return written;
            }
        }
        Err(ServiceError::conflict())
    }

    async fn check_quota(&self) -> Result<(), ServiceError> {
        let most = self.state.limits().ca_certificates;
        let stored = self.state.store().count(Table::CaCertificates).await?;
        match stored + (self.configured.len() as u64) < most {
            true => Ok(()),
            false => Err(ServiceError::quota("CA certificates", most)),
        }
    }

    fn configured(&self, name: &str) -> Option<&CaCertificate> {
        let mut configured = self.configured.iter();
        configured.find(|ca| ca.name.eq_ignore_ascii_case(name))
    }

    fn check_free(&self, name: &str) -> Result<(), ServiceError> {
        match self.configured(name) {
            None => Ok(()),
            Some(_) => Err(ServiceError::new(
                ErrorCode::INVALID_OPERATION,
                format!("The certificate '{name}' is part of the emulator's configuration."),
            )),
        }
    }
}

/// Requires that a change of an existing certificate names its version.
fn check_version(ca: &CaCertificate, condition: Option<&IfMatch>) -> Result<(), ServiceError> {
    match condition {
        Some(condition) if condition.matches(&ca.etag) => Ok(()),
        Some(_) => Err(ServiceError::precondition()),
        None => Err(ServiceError::new(
            ErrorCode::PRECONDITION_FAILED,
            format!(
                "The certificate '{}' exists: its ETag is required in If-Match.",
                ca.name
            ),
        )),
    }
}

fn check_name(name: &str) -> Result<(), ServiceError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    match (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(fits) {
        true => Ok(()),
        false => Err(ServiceError::invalid(
            "The name of a certificate is 1 to 256 letters, digits, '-', '.' and '_'.",
        )),
    }
}

fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

fn missing() -> ServiceError {
    ServiceError::new(ErrorCode::NOT_FOUND, "Certificate not found.")
}
