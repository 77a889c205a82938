//! New keys, generated in the token or imported.

use std::ops::RangeInclusive;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use dps_types::SymmetricKey;

use x509_cert::der::Encode;
use x509_cert::der::asn1::ObjectIdentifier;

use super::super::device_key::{KeyAlgorithm, PRIME256V1, SECP384R1};
use super::super::key_kind::KeyKind;
use super::connection::Connection;
use super::failure::Failure;
use super::key_place::{sensitive_key, wipe};
use super::object::{Class, Selector};
use super::private_key::{PrivateKey, check_mechanisms};
use super::secret_key::SecretKey;
use super::token::Token;
use super::uri::Uri;
use crate::error::Error;

impl Token {
    /// Generates a key pair in the token. The private key is sensitive and not extractable, so it never leaves the token.
    ///
    /// The `object` of the URI becomes the label, and `id` the id, which is random if the URI has none.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the URI has no `object`, if the token has a key with this
    /// name, or if it does not support this kind of key.
    pub async fn generate_private_key(
        &self,
        uri: &Uri,
        kind: KeyKind,
    ) -> Result<PrivateKey, Error> {
        let name = Name::new(uri)?;
        let made = uri.clone().with_id(name.id.clone());
        let generated = self.0.generate("generate a key pair", move |connection| {
            name.check_free(connection, Class::PrivateKey)?;
            check_kind(connection, kind)?;
            let (mechanism, mut public) = kind.template();
            public.extend([
                Attribute::Token(true),
                Attribute::Private(false),
                Attribute::Verify(true),
            ]);
            public.extend(name.attributes());
            let mut private = vec![
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
            ];
            private.extend(name.attributes());
            let session = connection.writing()?;
            session.generate_key_pair(&mechanism, &public, &private)?;
            Ok(())
        });
        generated.await?;
        self.private_key(&made).await
    }

    /// Checks the reported mechanisms of the token for the generation of this kind of key, before another key is removed for it.
    #[cfg(feature = "certificates")]
    pub(crate) async fn check_generation(&self, kind: KeyKind) -> Result<(), Error> {
        self.with("generate a key pair", move |connection| {
            check_kind(connection, kind)
        })
        .await
    }

    /// Removes the private key that the URI selects, with the public key and the certificate that have the same `object` and `id`. A
    /// missing key is not an error.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the URI has neither `object` nor `id`, if it selects more
    /// than one private key, if the module uses a handle for two objects, so that another object could be removed, or if the token does
    /// not allow it.
    pub async fn remove_private_key(&self, uri: &Uri) -> Result<(), Error> {
        // Empty names match every object without a name.
        let has_object = uri.object().is_some_and(|object| !object.is_empty());
        let has_id = uri.id().is_some_and(|id| !id.is_empty());
        if !has_object && !has_id {
            return Err(Error::configuration(
                "the PKCS#11 URI has neither object nor id, so it selects no key to remove",
            ));
        }
        let classes = [Class::Certificate, Class::PublicKey, Class::PrivateKey];
        let selectors = classes.map(|class| Selector::new(class, uri));
        self.with("remove a key pair", move |connection| {
            let session = connection.writing()?;
            connection.forget_stored();
            let mut found = Vec::new();
            for selector in &selectors {
                let objects = selector.all(&session)?;
                if selector.class == Class::PrivateKey && objects.len() > 1 {
                    return Err(selector.ambiguous(&session)?.into());
                }
                // Nothing is removed unless everything can be.
                for object in objects {
                    selector.check(&session, object)?;
                    found.push((selector, object));
                }
            }
            for (selector, object) in found {
                selector.destroy(&session, object)?;
            }
            Ok(())
        })
        .await
    }

    /// Imports a key into the token, such as the key of an enrollment. It is sensitive and not extractable there.
    ///
    /// The label and id are those of the URI, as with [`generate_private_key`](Self::generate_private_key). The caller's copy of the
    /// key is not wiped.
    ///
    /// # Errors
    /// See [`generate_private_key`](Self::generate_private_key). Also if the key cannot sign: many tokens require 32 bytes or more.
    pub async fn import_secret_key(
        &self,
        uri: &Uri,
        key: &SymmetricKey,
    ) -> Result<SecretKey, Error> {
        let name = Name::new(uri)?;
        let id = name.id.clone();
        let key = key.clone();
        self.with("import a secret key", move |connection| {
            name.check_free(connection, Class::SecretKey)?;
            let session = connection.writing()?;
            let mut template = sensitive_key(key.as_bytes(), true);
            template.extend(name.attributes());
            let made = session.create_object(&template);
            wipe(&mut template);
            let made = made?;
            let tried = session.sign(&Mechanism::Sha256Hmac, made, b"");
            if tried.is_err() {
                // A key that cannot sign must not occupy the name.
                let _ = name.selector(Class::SecretKey).destroy(&session, made);
            }
            tried.map(drop)?;
            Ok(())
        })
        .await?;
        self.stored_key(Selector::by_id(Class::SecretKey, &id))
            .await
    }

    /// Generates a symmetric key of 64 random bytes from the token, imports it, and returns it this once, because the enrollment
    /// needs it as well.
    ///
    /// # Errors
    /// See [`import_secret_key`](Self::import_secret_key). Also if the token has no random number generator.
    pub async fn generate_secret_key(&self, uri: &Uri) -> Result<(SecretKey, SymmetricKey), Error> {
        let key = self
            .with("generate random bytes", |connection| {
                let length = u32::try_from(SymmetricKey::MAX_BYTES).unwrap_or(64);
                let bytes = connection.session.generate_random_vec(length)?;
                SymmetricKey::from_bytes(bytes).map_err(|error| {
                    let what = "the token's random bytes are not a valid key";
                    Error::configuration(what).with_source(error).into()
                })
            })
            .await?;
        Ok((self.import_secret_key(uri, &key).await?, key))
    }
}

/// Checks that the token signs with this kind of key, and generates keys of its length.
fn check_kind(connection: &Connection, kind: KeyKind) -> Result<(), Failure> {
    let (module, slot) = (&connection.module, connection.slot);
    let mechanisms = module.get_mechanism_list(slot)?;
    check_mechanisms(kind.algorithm(), &mechanisms)?;
    let (mechanism, _) = kind.template();
    let generation = mechanism.mechanism_type();
    let unsupported = |why: String| {
        Error::configuration(format!(
            "the PKCS#11 token cannot generate a key of the kind {kind:?}: {why}"
        ))
    };
    if !mechanisms.contains(&generation) {
        return Err(unsupported(format!("it does not have the mechanism {generation}")).into());
    }
    let info = module.get_mechanism_info(slot, generation)?;
    let bits = kind.range_in_bits(info.min_key_size(), info.max_key_size());
    // A token that reports no lengths is asked when the key is generated.
    if bits.end() > &0 && !bits.contains(&kind.bits()) {
        let (least, most) = bits.into_inner();
        return Err(unsupported(format!("its keys have {least} to {most} bits")).into());
    }
    Ok(())
}

/// The label and id of a new object.
struct Name {
    label: String,
    id: Vec<u8>,
}

impl Name {
    fn new(uri: &Uri) -> Result<Self, Error> {
        let label = uri.object().filter(|object| !object.is_empty());
        let label = label.ok_or_else(|| {
            Error::configuration("a new key requires a name: add an object to the PKCS#11 URI")
        })?;
        let id = match uri.id() {
            Some(id) => id.to_vec(),
            None => {
                let mut id = vec![0; 16];
                getrandom::fill(&mut id).map_err(|error| {
                    Error::configuration("the operating system has no random number generator")
                        .with_source(error)
                })?;
                id
            }
        };
        Ok(Self {
            label: label.to_owned(),
            id,
        })
    }

    fn attributes(&self) -> [Attribute; 2] {
        [
            Attribute::Label(self.label.clone().into_bytes()),
            Attribute::Id(self.id.clone()),
        ]
    }

    fn selector(&self, class: Class) -> Selector {
        Selector {
            class,
            label: Some(self.label.clone()),
            id: Some(self.id.clone()),
        }
    }

    /// Tokens allow two objects with one name, but then a URI could select neither.
    fn check_free(&self, connection: &Connection, class: Class) -> Result<(), Failure> {
        for selector in [
            Selector::by_label(class, &self.label),
            Selector::by_id(class, &self.id),
        ] {
            if !selector.all(&connection.session)?.is_empty() {
                return Err(Error::configuration(format!(
                    "the token already has a {selector}: choose another name, or remove it first"
                ))
                .into());
            }
        }
        Ok(())
    }
}

impl KeyKind {
    fn algorithm(self) -> KeyAlgorithm {
        match self {
            Self::P256 => KeyAlgorithm::P256,
            Self::P384 => KeyAlgorithm::P384,
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => KeyAlgorithm::Rsa,
        }
    }

    /// The length of a key, in bits.
    fn bits(self) -> usize {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
        }
    }

    /// The lengths of keys that a token reports, in bits. PKCS#11 defines the unit for each mechanism, and some modules report bytes
    /// where it is bits: a length that is too short for every key is one in bytes.
    fn range_in_bits(self, least: usize, most: usize) -> RangeInclusive<usize> {
        let shortest = match self.algorithm() {
            KeyAlgorithm::Rsa => 1024,
            KeyAlgorithm::P256 | KeyAlgorithm::P384 => 192,
        };
        match most < shortest {
            true => least.saturating_mul(8)..=most.saturating_mul(8),
            false => least..=most,
        }
    }

    fn template(self) -> (Mechanism<'static>, Vec<Attribute>) {
        match self {
            Self::P256 => return ec(PRIME256V1),
            Self::P384 => return ec(SECP384R1),
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => {}
        }
        let attributes = vec![
            Attribute::ModulusBits((self.bits() as u64).into()),
            Attribute::PublicExponent(vec![1, 0, 1]),
        ];
        (Mechanism::RsaPkcsKeyPairGen, attributes)
    }
}

/// CKA_EC_PARAMS is the DER of the curve's object identifier.
#[expect(
    clippy::expect_used,
    reason = "every object identifier has an encoding"
)]
fn ec(curve: ObjectIdentifier) -> (Mechanism<'static>, Vec<Attribute>) {
    let curve = curve.to_der().expect("an object identifier can be encoded");
    let attributes = vec![Attribute::EcParams(curve)];
    (Mechanism::EccKeyPairGen, attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_in_bytes_are_converted_to_bits() {
        for (kind, least, most, bits) in [
            (KeyKind::Rsa3072, 512, 16384, 512..=16384),
            (KeyKind::Rsa3072, 64, 256, 512..=2048),
            (KeyKind::P384, 256, 521, 256..=521),
            (KeyKind::P384, 32, 66, 256..=528),
            (KeyKind::P256, 0, 0, 0..=0),
        ] {
            assert_eq!(kind.range_in_bits(least, most), bits, "{kind:?}");
        }
    }
}
