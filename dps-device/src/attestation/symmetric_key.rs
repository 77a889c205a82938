//! Symmetric key attestation: a device key, a key derived from a group key, or a key in hardware.

use std::fmt;

use dps_types::sas::Sign;
use dps_types::{RegistrationId, SymmetricKey};

use super::proof::{Attestation, Proof};

/// Symmetric key attestation.
///
/// Source: azure-docs `iot-dps/concepts-symmetric-key-attestation.md`.
///
/// ```
/// use dps_device::{SymmetricKey, SymmetricKeyAttestation};
///
/// let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
/// let attestation = SymmetricKeyAttestation::new("toaster-1".parse()?, primary).with_secondary(secondary);
/// # drop(attestation);
/// # Ok::<_, dps_device::ParseError>(())
/// ```
pub struct SymmetricKeyAttestation {
    registration_id: RegistrationId,
    primary: Box<dyn Sign>,
    secondary: Option<Box<dyn Sign>>,
}

impl SymmetricKeyAttestation {
    /// A device with its own key: the key of an individual enrollment, or a derived key.
    pub fn new(registration_id: RegistrationId, key: SymmetricKey) -> Self {
        Self::from_signer(registration_id, key)
    }

    /// A member of an enrollment group: derives the device key from the group key.
    ///
    /// The group key can impersonate every device of the group. On a device prefer [`new`](Self::new) with the derived key.
    pub fn from_group(registration_id: RegistrationId, group_key: &SymmetricKey) -> Self {
        let key = group_key.derive_device_key(&registration_id);
        Self::new(registration_id, key)
    }

    /// A device whose key signs elsewhere, for example in an HSM.
    pub fn from_signer(registration_id: RegistrationId, signer: impl Sign + 'static) -> Self {
        Self {
            registration_id,
            primary: Box::new(signer),
            secondary: None,
        }
    }

    /// Adds a second key, a [`SymmetricKey`] or a signer. It is used when the service refuses the first one, so that keys can
    /// be rotated without downtime.
    #[must_use]
    pub fn with_secondary(mut self, key: impl Sign + 'static) -> Self {
        self.secondary = Some(Box::new(key));
        self
    }

    /// Adds the key that is derived from the secondary key of the group.
    #[must_use]
    pub fn with_secondary_group_key(self, group_key: &SymmetricKey) -> Self {
        let key = group_key.derive_device_key(&self.registration_id);
        self.with_secondary(key)
    }
}

impl Attestation for SymmetricKeyAttestation {
    fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    fn proof(&self) -> Proof<'_> {
        Proof::SharedKey(&*self.primary)
    }

    fn secondary_proof(&self) -> Option<Proof<'_>> {
        self.secondary.as_deref().map(Proof::SharedKey)
    }
}

impl fmt::Debug for SymmetricKeyAttestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SymmetricKeyAttestation")
            .field("registration_id", &self.registration_id)
            .field("has_secondary", &self.secondary.is_some())
            .finish_non_exhaustive()
    }
}
