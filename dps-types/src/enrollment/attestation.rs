//! Attestation: how the devices of an enrollment authenticate.

use serde::{Deserialize, Deserializer};

use super::{X509Attestation, X509CaReferences, X509Certificates};
use crate::{EncodedKey, SymmetricKey};

open_enum! {
    /// The type of attestation.
    pub enum AttestationType {
        /// None.
        None = "none",
        /// A TPM's endorsement key.
        Tpm = "tpm",
        /// A certificate.
        X509 = "x509",
        /// A symmetric key.
        SymmetricKey = "symmetricKey",
    }
}

lossless! {
    /// The attestation of an enrollment: its type, and the member that belongs to the type.
    pub struct AttestationMechanism {
        /// The type.
        kind: AttestationType = "type",
        /// For [`AttestationType::Tpm`].
        tpm: Option<TpmAttestation> = "tpm",
        /// For [`AttestationType::X509`].
        x509: Option<X509Attestation> = "x509",
        /// For [`AttestationType::SymmetricKey`]. The service returns it only from a create,
        /// an update and the attestation mechanism operation.
        symmetric_key: Option<SymmetricKeyAttestation> = "symmetricKey",
    }
}

impl AttestationMechanism {
    /// Attestation by symmetric keys that the service generates.
    pub fn symmetric_key() -> Self {
        Self::of(AttestationType::SymmetricKey)
    }

    /// Attestation by these symmetric keys.
    pub fn from_keys(primary: &SymmetricKey, secondary: &SymmetricKey) -> Self {
        let keys = SymmetricKeyAttestation {
            primary_key: Some(primary.into()),
            secondary_key: Some(secondary.into()),
            extra: Default::default(),
        };
        Self {
            symmetric_key: Some(keys),
            ..Self::symmetric_key()
        }
    }

    /// Attestation by a TPM with this endorsement key: base64 of its TPM2B_PUBLIC.
    pub fn tpm(endorsement_key: impl Into<String>) -> Self {
        let tpm = TpmAttestation::new(endorsement_key);
        Self {
            tpm: Some(tpm),
            ..Self::of(AttestationType::Tpm)
        }
    }

    /// Attestation by exactly this certificate: PEM, or base64 of the DER. For individual enrollments.
    pub fn client_certificate(certificate: impl Into<String>) -> Self {
        let certificates = X509Certificates::new(certificate);
        Self::x509(X509Attestation {
            client_certificates: Some(certificates),
            ..Default::default()
        })
    }

    /// Attestation by certificates that this one signed: PEM, or base64 of the DER.
    pub fn signing_certificate(certificate: impl Into<String>) -> Self {
        let certificates = X509Certificates::new(certificate);
        Self::x509(X509Attestation {
            signing_certificates: Some(certificates),
            ..Default::default()
        })
    }

    /// Attestation by certificates signed by the CA certificate that was uploaded to the instance under this name.
    pub fn ca_reference(name: impl Into<String>) -> Self {
        let references = X509CaReferences {
            primary: Some(name.into()),
            ..Default::default()
        };
        Self::x509(X509Attestation {
            ca_references: Some(references),
            ..Default::default()
        })
    }

    fn x509(x509: X509Attestation) -> Self {
        Self {
            x509: Some(x509),
            ..Self::of(AttestationType::X509)
        }
    }

    fn of(kind: AttestationType) -> Self {
        Self {
            kind,
            tpm: None,
            x509: None,
            symmetric_key: None,
            extra: Default::default(),
        }
    }
}

lossless! {
    /// The keys of a TPM, each base64 of its TPM2B_PUBLIC.
    pub struct TpmAttestation {
        /// The endorsement key, which identifies the TPM.
        endorsement_key: String = "endorsementKey",
        /// The storage root key, which the hub key is encrypted to.
        storage_root_key: Option<String> = "storageRootKey",
    }
}

impl TpmAttestation {
    /// A TPM with this endorsement key.
    pub fn new(endorsement_key: impl Into<String>) -> Self {
        Self {
            endorsement_key: endorsement_key.into(),
            storage_root_key: None,
            extra: Default::default(),
        }
    }
}

lossless! {
    /// Two symmetric keys; either is accepted.
    #[derive(Default)]
    pub struct SymmetricKeyAttestation {
        /// The primary key. An empty string is read as absent: Java's and C#'s SDKs send it for a key they do not have.
        primary_key: Option<EncodedKey> = "primaryKey" via KeyOrBlank,
        /// The secondary key, for the time in which the primary is replaced. An empty string is read as absent.
        secondary_key: Option<EncodedKey> = "secondaryKey" via KeyOrBlank,
    }
}

/// A key, or nothing: `null`, empty or only white space.
struct KeyOrBlank(Option<EncodedKey>);

impl<'de> Deserialize<'de> for KeyOrBlank {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // EncodedKey's own error does not show the value.
        let key = Option::<EncodedKey>::deserialize(deserializer)?;
        Ok(Self(key.filter(|key| !key.is_blank())))
    }
}

impl From<KeyOrBlank> for Option<EncodedKey> {
    fn from(key: KeyOrBlank) -> Self {
        key.0
    }
}
