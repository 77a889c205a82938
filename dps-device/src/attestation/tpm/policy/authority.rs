//! The authority that approves measured states, and its approvals.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::structures::{
    Digest, EccParameter, EccPoint, EccScheme, EccSignature, HashScheme,
    KeyDerivationFunctionScheme, Name, Public, PublicBuilder, PublicEccParameters, Signature,
    SymmetricDefinitionObject, VerifiedTicket,
};
use tss_esapi::traits::Marshall;
use x509_cert::der::asn1::UintRef;
use x509_cert::der::{Decode, Document};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::state::{MeasuredState, from_hex, hex};
use crate::attestation::device_key::KeyAlgorithm;
use crate::attestation::tpm::connection::Connection;
use crate::attestation::tpm::error::TpmError;
use crate::error::Error;

/// The length of a coordinate and of each number of a signature with P-256, in bytes.
const LENGTH: usize = 32;

/// The public key of the authority that approves measured states: a key on P-256. The private key is never on a device.
///
/// A key pair in the TPM depends on this key for its whole life.
#[derive(Clone, PartialEq, Eq)]
pub struct PolicyAuthority {
    /// The coordinates.
    point: [u8; 2 * LENGTH],
}

impl PolicyAuthority {
    /// Reads a public key: a SubjectPublicKeyInfo, PEM or DER (`openssl pkey -pubout`).
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if it is not a public key on P-256.
    pub fn from_public_key(key: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::read(key.as_ref()).ok_or_else(|| {
            Error::configuration(
                "the authority's key is not a public key on P-256 (SubjectPublicKeyInfo, PEM or DER)",
            )
        })
    }

    /// The name of the key in the TPM.
    pub(super) fn name(&self) -> Result<Vec<u8>, TpmError> {
        let area = self.public().and_then(|public| public.marshall());
        let area = area.map_err(|error| TpmError::new("TPM2_LoadExternal", error))?;
        // The number of SHA-256.
        let mut name = vec![0x00, 0x0b];
        name.extend(Sha256::digest(area));
        Ok(name)
    }

    /// Lets the TPM verify an approval.
    pub(super) fn verify(
        &self,
        connection: &mut Connection<'_>,
        approved: &[u8; 32],
        approval: &Approval,
    ) -> Result<(Name, VerifiedTicket), TpmError> {
        let public = self.public();
        // A ticket of the null hierarchy would not be valid for TPM2_PolicyAuthorize.
        let key = connection.plain("TPM2_LoadExternal", |context| {
            context.load_external_public(public?, Hierarchy::Owner)
        })?;
        connection.flushing(key.into(), |connection| {
            let name = connection.plain("TPM2_LoadExternal", |context| {
                context.tr_get_name(key.into())
            })?;
            let ticket = connection.plain("TPM2_VerifySignature", |context| {
                let digest = Digest::try_from(&Sha256::digest(approved)[..])?;
                context.verify_signature(key, digest, approval.to_tss()?)
            })?;
            Ok((name, ticket))
        })
    }

    fn read(key: &[u8]) -> Option<Self> {
        let document = match std::str::from_utf8(key) {
            Ok(text) if text.contains("-----BEGIN") => {
                let (label, document) = Document::from_pem(text.trim()).ok()?;
                (label == "PUBLIC KEY").then_some(document)?
            }
            _ => Document::from_der(key).ok()?,
        };
        let key = document.as_bytes();
        if KeyAlgorithm::of(key) != Some(KeyAlgorithm::P256) {
            return None;
        }
        let key = SubjectPublicKeyInfoRef::from_der(key).ok()?;
        // An uncompressed point.
        let point = key.subject_public_key.raw_bytes().strip_prefix(&[4])?;
        let point = point.try_into().ok()?;
        Some(Self { point })
    }

    fn public(&self) -> tss_esapi::Result<Public> {
        let (x, y) = self.point.split_at(LENGTH);
        let attributes = ObjectAttributesBuilder::new()
            .with_user_with_auth(true)
            .with_sign_encrypt(true)
            .build()?;
        let scheme = EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256));
        PublicBuilder::new()
            .with_public_algorithm(PublicAlgorithm::Ecc)
            .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
            .with_object_attributes(attributes)
            .with_ecc_parameters(PublicEccParameters::new(
                SymmetricDefinitionObject::Null,
                scheme,
                EccCurve::NistP256,
                KeyDerivationFunctionScheme::Null,
            ))
            .with_ecc_unique_identifier(EccPoint::new(
                EccParameter::try_from(x)?,
                EccParameter::try_from(y)?,
            ))
            .build()
    }
}

impl fmt::Debug for PolicyAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyAuthority({})", hex(&self.point))
    }
}

/// The approval of a measured state: the state with the signature of a [`PolicyAuthority`]. It is not a secret.
///
/// It is valid for every key pair of this authority, on every device, and cannot be withdrawn: software that was approved once can use the
/// keys again. Use one authority for each group of devices, and a new key pair with another authority to exclude a state.
///
/// The text form is the measured state and the signature in hexadecimal: `sha256:0=…,7=…;SIGNATURE`.
#[derive(Clone, PartialEq, Eq)]
pub struct Approval {
    state: MeasuredState,
    r: [u8; LENGTH],
    s: [u8; LENGTH],
}

impl Approval {
    /// An approval from the authority's signature (ECDSA with SHA-256, DER) of [`MeasuredState::message_to_approve`].
    ///
    /// The signature is made where the authority's key is: `openssl dgst -sha256 -sign authority.pem message`, or a hardware
    /// security module. The TPM verifies it when the key is used.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if it is not a signature of a key on P-256.
    pub fn new(state: MeasuredState, signature: &[u8]) -> Result<Self, Error> {
        let read = || {
            // ECDSA-Sig-Value of RFC 3279: a sequence of two numbers.
            match &Vec::<UintRef<'_>>::from_der(signature).ok()?[..] {
                [r, s] => Some((number(r.as_bytes())?, number(s.as_bytes())?)),
                _ => None,
            }
        };
        let (r, s) = read().ok_or_else(|| {
            Error::configuration(
                "the signature of the approval is not an ECDSA signature with P-256 (DER)",
            )
        })?;
        Ok(Self { state, r, s })
    }

    /// The approved state.
    pub fn state(&self) -> &MeasuredState {
        &self.state
    }

    fn to_tss(&self) -> tss_esapi::Result<Signature> {
        Ok(Signature::EcDsa(EccSignature::create(
            HashingAlgorithm::Sha256,
            EccParameter::try_from(&self.r[..])?,
            EccParameter::try_from(&self.s[..])?,
        )?))
    }
}

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}{}", self.state, hex(&self.r), hex(&self.s))
    }
}

impl fmt::Debug for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Approval({self})")
    }
}

impl FromStr for Approval {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || {
            Error::configuration(format!(
                "{text:?} is not a valid approval: it has the form STATE;SIGNATURE"
            ))
        };
        let (state, signature) = text.split_once(';').ok_or_else(invalid)?;
        let signature = from_hex(signature).ok_or_else(invalid)?;
        let (r, s) = signature.split_at_checked(LENGTH).ok_or_else(invalid)?;
        Ok(Self {
            state: state.parse()?,
            r: r.try_into().map_err(|_| invalid())?,
            s: s.try_into().map_err(|_| invalid())?,
        })
    }
}

/// A number of 32 bytes, with its leading zeros.
fn number(bytes: &[u8]) -> Option<[u8; LENGTH]> {
    let mut number = [0; LENGTH];
    let start = LENGTH.checked_sub(bytes.len())?;
    number.get_mut(start..)?.copy_from_slice(bytes);
    Some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData, SigningKey,
    };

    use super::*;

    fn state() -> MeasuredState {
        format!("sha256:7={}", "07".repeat(32)).parse().unwrap()
    }

    #[test]
    fn a_public_key_is_read_from_pem_and_der() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let pem = PolicyAuthority::from_public_key(key.public_key_pem()).unwrap();
        let der = PolicyAuthority::from_public_key(key.subject_public_key_info()).unwrap();
        assert_eq!(pem, der);
        assert_eq!(pem.point, key.der_bytes()[1..]);

        let long = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        for wrong in [
            long.public_key_pem().into_bytes(),
            key.serialize_pem().into_bytes(),
            key.der_bytes().to_vec(),
            Vec::new(),
        ] {
            PolicyAuthority::from_public_key(wrong).unwrap_err();
        }
    }

    #[test]
    fn an_approval_is_read_and_written() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let signature = key.sign(&state().message_to_approve()).unwrap();
        let approval = Approval::new(state(), &signature).unwrap();
        assert_eq!(approval.to_string().parse::<Approval>().unwrap(), approval);
        assert_eq!(approval.state(), &state());

        let text = approval.to_string();
        for wrong in [
            "",
            ";",
            &text[1..],
            &text[..text.len() - 2],
            &format!("{text}00"),
        ] {
            wrong.parse::<Approval>().unwrap_err();
        }
        Approval::new(state(), &signature[1..]).unwrap_err();
        Approval::new(state(), &[]).unwrap_err();
    }

    proptest! {
        #[test]
        fn no_input_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..99),
            text in "(sha256:0=[0-9a-f]{64};)?.{0,150}"
        ) {
            let _ = Approval::new(state(), &bytes);
            let _ = PolicyAuthority::from_public_key(&bytes);
            let _ = text.parse::<Approval>();
        }
    }
}
