//! How devices of an enrollment prove who they are.

use super::{X509Attestation, X509CaReferences, X509Certificates};
use crate::{EncodedKey, SymmetricKey};

open_enum! {
    /// The kind of proof.
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
    /// How devices of an enrollment prove who they are: one kind, and the part that belongs to it.
    pub struct AttestationMechanism {
        /// The kind.
        kind: AttestationType = "type",
        /// For [`AttestationType::Tpm`].
        tpm: Option<TpmAttestation> = "tpm",
        /// For [`AttestationType::X509`].
        x509: Option<X509Attestation> = "x509",
        /// For [`AttestationType::SymmetricKey`]. The service leaves it out of its answers, apart from
        /// the one to a create or update and the attestation mechanism operation.
        symmetric_key: Option<SymmetricKeyAttestation> = "symmetricKey",
    }
}

impl AttestationMechanism {
    /// Symmetric keys that the service generates.
    pub fn symmetric_key() -> Self {
        Self::of(AttestationType::SymmetricKey)
    }

    /// These symmetric keys.
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

    /// A TPM with this endorsement key: base64 of its TPM2B_PUBLIC.
    pub fn tpm(endorsement_key: impl Into<String>) -> Self {
        let tpm = TpmAttestation::new(endorsement_key);
        Self {
            tpm: Some(tpm),
            ..Self::of(AttestationType::Tpm)
        }
    }

    /// A device with exactly this certificate: PEM, or base64 of the DER. For individual enrollments.
    pub fn client_certificate(certificate: impl Into<String>) -> Self {
        let certificates = X509Certificates::new(certificate);
        Self::x509(X509Attestation {
            client_certificates: Some(certificates),
            ..Default::default()
        })
    }

    /// Devices whose certificates this one signed: PEM, or base64 of the DER.
    pub fn signing_certificate(certificate: impl Into<String>) -> Self {
        let certificates = X509Certificates::new(certificate);
        Self::x509(X509Attestation {
            signing_certificates: Some(certificates),
            ..Default::default()
        })
    }

    /// Devices whose certificates a CA signed that was uploaded to the instance under this name.
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
        /// The endorsement key: who the TPM is.
        endorsement_key: String = "endorsementKey",
        /// The storage root key: what to encrypt to.
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
        /// The one to use.
        primary_key: Option<EncodedKey> = "primaryKey",
        /// The one to change to while the primary is replaced.
        secondary_key: Option<EncodedKey> = "secondaryKey",
    }
}
