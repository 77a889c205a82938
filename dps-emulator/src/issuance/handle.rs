//! The certificates of a running emulator, for tests: roots, revocation, expiry.

use std::fmt;
use std::sync::Arc;

use dps_types::{ParseError, RegistrationId};

use super::{Credential, revocation};
use crate::error::{Error, ErrorKind};
use crate::instance::Instance;

/// The certificates that DPS and the hubs of a running [`Emulator`](crate::Emulator) issue to devices.
///
/// To delay the issuance of a certificate or to make it fail, add a [fault](crate::fault) at
/// [`Step::IssueCertificate`](crate::fault::Step::IssueCertificate).
///
/// ```no_run
/// # async fn example(dps: &dps_emulator::Emulator) -> Result<(), Box<dyn std::error::Error>> {
/// dps.issuance().revoke("toaster-1").await?; // the device registers again
/// # Ok(())
/// # }
/// ```
pub struct IssuanceHandle {
    instance: Arc<Instance>,
}

impl IssuanceHandle {
    pub(crate) fn new(instance: Arc<Instance>) -> Self {
        Self { instance }
    }

    /// The root certificate of a certificate authority, as PEM. `None` if there is no such authority.
    pub fn root_pem(&self, namespace: &str, authority: &str) -> Option<String> {
        let root = self.instance.issuance.root(namespace, authority)?;
        Some(root.pem())
    }

    /// Revokes all certificates that were issued to the device, and disconnects it from its hub. It must register again with a
    /// new certificate request.
    ///
    /// # Errors
    /// [`ErrorKind::DeviceNotFound`] if the device has not registered, [`ErrorKind::InvalidRequest`] if it has no issued
    /// certificate; and if the store fails.
    pub async fn revoke(&self, registration_id: &str) -> Result<(), Error> {
        self.change(registration_id, Credential::revoke).await
    }

    /// Makes all certificates that were issued to the device expire now, and disconnects it from its hub.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    pub async fn expire(&self, registration_id: &str) -> Result<(), Error> {
        self.change(registration_id, Credential::expire).await
    }

    async fn change(&self, id: &str, change: impl Fn(&mut Credential)) -> Result<(), Error> {
        let id: RegistrationId = id.parse().map_err(|error: ParseError| {
            let what = "the registration id is not valid, so no device has it";
            Error::new(ErrorKind::DeviceNotFound, what).with_source(error)
        })?;
        let changed = revocation::change(&self.instance, &id, change).await;
        changed.map_err(|error| {
            let kind = match error.status() {
                404 => ErrorKind::DeviceNotFound,
                400 => ErrorKind::InvalidRequest,
                _ => ErrorKind::Store,
            };
            Error::new(kind, error.message())
        })
    }
}

impl fmt::Debug for IssuanceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuanceHandle").finish_non_exhaustive()
    }
}
