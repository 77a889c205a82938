//! New keys: made in the token, or brought into it.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use dps_types::SymmetricKey;

use super::super::device_key::KeyAlgorithm;
use super::connection::Connection;
use super::failure::Failure;
use super::object::{Class, Wanted};
use super::private_key::{PrivateKey, check_mechanisms};
use super::secret_key::{SecretKey, sensitive_key, wipe};
use super::token::Token;
use super::uri::Uri;
use crate::error::Error;

/// What key pair to make. All of them are ones that DPS takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum KeyKind {
    /// ECDSA on P-256: small and fast, and what most devices have.
    #[default]
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of 2048 bits. To make it takes a slow token long.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits.
    Rsa4096,
}

impl Token {
    /// Makes a key pair in the token. The private key is sensitive and not extractable: it is never anywhere else.
    ///
    /// `object` of the URI becomes its label, and `id` its id: a random one where the URI has none.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the URI has no `object`, when there is a key of this name, or
    /// when the token does not make such keys.
    pub async fn generate_private_key(
        &self,
        uri: &Uri,
        kind: KeyKind,
    ) -> Result<PrivateKey, Error> {
        let name = Name::new(uri)?;
        let made = uri.clone().with_id(name.id.clone());
        self.with("make a key pair", move |connection| {
            name.check_free(connection, Class::PrivateKey)?;
            check_mechanisms(
                kind.algorithm(),
                &connection.module.get_mechanism_list(connection.slot)?,
            )?;
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
        })
        .await?;
        self.private_key(&made).await
    }

    /// Brings a key into the token, where it is sensitive and not extractable: the key of an enrollment, as the portal shows it.
    ///
    /// Names it as [`generate_private_key`](Self::generate_private_key) does. Whoever had the key still has it.
    ///
    /// # Errors
    /// As [`generate_private_key`](Self::generate_private_key), and when the key does not sign: of many tokens it must have
    /// 32 bytes or more.
    pub async fn import_secret_key(
        &self,
        uri: &Uri,
        key: &SymmetricKey,
    ) -> Result<SecretKey, Error> {
        let name = Name::new(uri)?;
        let id = name.id.clone();
        let key = key.clone();
        self.with("take in a secret key", move |connection| {
            name.check_free(connection, Class::SecretKey)?;
            let session = connection.writing()?;
            let mut template = sensitive_key(key.as_bytes(), true);
            template.extend(name.attributes());
            let made = session.create_object(&template);
            wipe(&mut template);
            let made = made?;
            let tried = session.sign(&Mechanism::Sha256Hmac, made, b"");
            if tried.is_err() {
                // A key of no use would only take the name.
                let _ = session.destroy_object(made);
            }
            tried.map(drop)?;
            Ok(())
        })
        .await?;
        self.stored_key(Wanted::by_id(Class::SecretKey, &id)).await
    }

    /// Makes a symmetric key of 64 bytes from the token's own randomness, brings it in as
    /// [`import_secret_key`](Self::import_secret_key) does, and gives it out this once: the enrollment must have it too.
    ///
    /// # Errors
    /// As [`import_secret_key`](Self::import_secret_key), and when the token has no randomness.
    pub async fn generate_secret_key(&self, uri: &Uri) -> Result<(SecretKey, SymmetricKey), Error> {
        let key = self
            .with("make randomness", |connection| {
                let length = u32::try_from(SymmetricKey::MAX_BYTES).unwrap_or(64);
                let bytes = connection.session.generate_random_vec(length)?;
                SymmetricKey::from_bytes(bytes).map_err(|error| {
                    let what = "the token's randomness is no key";
                    Error::configuration(what).with_source(error).into()
                })
            })
            .await?;
        Ok((self.import_secret_key(uri, &key).await?, key))
    }
}

/// What a new object is called.
struct Name {
    label: String,
    id: Vec<u8>,
}

impl Name {
    fn new(uri: &Uri) -> Result<Self, Error> {
        let label = uri.object().ok_or_else(|| {
            Error::configuration("a new key needs a name: an object in the PKCS#11 URI")
        })?;
        let id = match uri.id() {
            Some(id) => id.to_vec(),
            None => {
                let mut id = vec![0; 16];
                getrandom::fill(&mut id).map_err(|error| {
                    Error::configuration("the operating system has no randomness")
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

    /// Tokens let two objects have one name. A URI could then name neither.
    fn check_free(&self, connection: &Connection, class: Class) -> Result<(), Failure> {
        for wanted in [
            Wanted::by_label(class, &self.label),
            Wanted::by_id(class, &self.id),
        ] {
            if !wanted.all(&connection.session)?.is_empty() {
                return Err(Error::configuration(format!("the token has a {wanted}")).into());
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

    fn template(self) -> (Mechanism<'static>, Vec<Attribute>) {
        let bits = match self {
            Self::P256 => return ec(b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"),
            Self::P384 => return ec(b"\x06\x05\x2b\x81\x04\x00\x22"),
            Self::Rsa2048 => 2048_u64,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
        };
        let attributes = vec![
            Attribute::ModulusBits(bits.into()),
            Attribute::PublicExponent(vec![1, 0, 1]),
        ];
        (Mechanism::RsaPkcsKeyPairGen, attributes)
    }
}

/// The curve is named by its object identifier, DER.
fn ec(curve: &[u8]) -> (Mechanism<'static>, Vec<Attribute>) {
    let attributes = vec![Attribute::EcParams(curve.to_vec())];
    (Mechanism::EccKeyPairGen, attributes)
}
