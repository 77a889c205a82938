//! A certificate authority of a namespace: its root and its intermediate, kept in the store, and the certificates it issues.
//!
//! Source: azure-docs, certificate management of Azure Device Registry: ECDSA P-384, a root of 10 years, an intermediate of 1 year,
//! addresses of CRL and issuer in each certificate.

#[cfg(fuzzing)]
pub(crate) mod fuzzing;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName,
    IsCa, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use x509_cert::der::oid::db::rfc5912::ID_AD_CA_ISSUERS;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AccessDescription, AuthorityInfoAccessSyntax};
use x509_cert::spki::SubjectPublicKeyInfoOwned;
use zeroize::{Zeroize as _, Zeroizing};

use super::choices;
use super::config::{IssuerName, IssuingAuthority};
use super::credential::{Credential, new_serial_number};
use crate::certificate::{Certificate, PublicKey, RequestedKey};
use crate::error::{Error, ErrorKind};
use crate::issuer::{DAY, authority_params, device_params, generate, subject};
use crate::state::store::{Expected, Store, Table};

const ROOT_VALIDITY: Duration = Duration::from_secs(10 * 365 * DAY.as_secs());
const INTERMEDIATE_VALIDITY: Duration = Duration::from_secs(365 * DAY.as_secs());

/// A certificate authority of a namespace.
#[derive(Debug)]
pub(super) struct Authority {
    pub(super) config: IssuingAuthority,
    pub(super) root: Certificate,
    store: Arc<dyn Store>,
    keys: Mutex<Keys>,
}

/// The keys of an authority, and their stored form.
struct Keys {
    root: Signer,
    intermediate: Signer,
    stored: Zeroizing<Vec<u8>>,
}

/// A CA certificate and its key.
struct Signer {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// The stored form of [`Keys`].
#[derive(Serialize, Deserialize)]
struct StoredKeys {
    root: StoredSigner,
    intermediate: StoredSigner,
}

/// Base64 of the certificate's DER and of the key's PKCS#8.
#[derive(Serialize, Deserialize)]
struct StoredSigner {
    certificate: String,
    key: String,
}

impl Drop for StoredSigner {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Authority {
    /// Reads the authority of an earlier run, or makes a new one.
    pub(super) async fn open(
        config: IssuingAuthority,
        store: Arc<dyn Store>,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let name = store_key(&config.name);
        let keys = loop {
            let stored = store.get(Table::Meta, &name).await.map_err(failed)?;
            let read = stored
                .as_deref()
                .map(|bytes| Keys::read(bytes, &config.name));
            match read.transpose()? {
                Some(keys) if !keys.root.certificate.has_expired(now) => break keys,
                _ => {
                    let keys = Keys::new(&config.name, now)?;
                    let expected = Expected::unchanged(stored.as_deref());
                    let bytes = keys.stored.to_vec();
                    let written = store.put(Table::Meta, &name, expected, bytes).await;
                    if written.map_err(failed)? {
                        tracing::info!(authority = %config.name, "made a certificate authority");
                        break keys;
                    }
                }
            }
        };
        Ok(Self {
            root: keys.root.certificate.clone(),
            config,
            store,
            keys: Mutex::new(keys),
        })
    }

    /// Issues a certificate for the device's key. Returns it with its issuers, the root last: base64 of DER.
    pub(super) async fn issue(
        &self,
        key: &RequestedKey,
        credential: &Credential,
        now: SystemTime,
    ) -> Result<Vec<String>, Error> {
        let mut keys = self.keys.lock().await;
        if keys.intermediate.ends() < now + choices::INTERMEDIATE_OVERLAP {
            self.renew_intermediate(&mut keys, now).await?;
        }
        let intermediate = &keys.intermediate;
        let end = (now + self.config.validity()).min(intermediate.ends());
        let params = self.leaf(credential, now - choices::BACKDATED..end)?;
        let leaf = params
            .signed_by(key, &intermediate.issuer)
            .map_err(generate)?;
        Ok(vec![
            STANDARD.encode(leaf.der()),
            intermediate.certificate.der_base64(),
            keys.root.certificate.der_base64(),
        ])
    }

    fn leaf(
        &self,
        credential: &Credential,
        validity: Range<SystemTime>,
    ) -> Result<CertificateParams, Error> {
        let subject = subject::common_name(credential.registration_id.as_str())?;
        let mut params = device_params(subject, validity);
        params.serial_number = Some(SerialNumber::from(new_serial_number()));
        params.subject_alt_names = vec![SanType::URI(ia5(&credential.uri())?)];
        add_addresses(&mut params, &self.config.name, "intermediate")?;
        Ok(params)
    }

    /// Makes a new intermediate below the same root, so that hubs accept it without any change.
    async fn renew_intermediate(&self, keys: &mut Keys, now: SystemTime) -> Result<(), Error> {
        let name = store_key(&self.config.name);
        let intermediate = Signer::intermediate(&self.config.name, &keys.root, now)?;
        let stored = encode(&keys.root, &intermediate)?;
        let expected = Expected::Exactly(&keys.stored);
        let bytes = stored.to_vec();
        let written = self.store.put(Table::Meta, &name, expected, bytes);
        if written.await.map_err(failed)? {
            tracing::info!(authority = %self.config.name, "renewed the intermediate");
            keys.intermediate = intermediate;
            keys.stored = stored;
        } else if let Some(bytes) = self.store.get(Table::Meta, &name).await.map_err(failed)? {
            // Another process with the same store was faster.
            *keys = Keys::read(&bytes, &self.config.name)?;
        }
        Ok(())
    }
}

impl Keys {
    fn new(name: &IssuerName, now: SystemTime) -> Result<Self, Error> {
        let root = Signer::root(name, now)?;
        let intermediate = Signer::intermediate(name, &root, now)?;
        Ok(Self {
            stored: encode(&root, &intermediate)?,
            root,
            intermediate,
        })
    }

    fn read(bytes: &[u8], name: &IssuerName) -> Result<Self, Error> {
        let damaged = || {
            let what = format!("the stored keys of the certificate authority {name} are damaged");
            Error::new(ErrorKind::Store, what)
        };
        let stored: StoredKeys =
            serde_json::from_slice(bytes).map_err(|error| damaged().with_source(error))?;
        Ok(Self {
            root: Signer::read(&stored.root, name, Level::Root).ok_or_else(damaged)?,
            intermediate: Signer::read(&stored.intermediate, name, Level::Intermediate)
                .ok_or_else(damaged)?,
            stored: Zeroizing::new(bytes.to_vec()),
        })
    }
}

/// The place of a CA certificate in the chain.
#[derive(Clone, Copy)]
enum Level {
    Root,
    Intermediate,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Intermediate => "intermediate",
        }
    }

    fn params(
        self,
        name: &IssuerName,
        validity: Range<SystemTime>,
    ) -> Result<CertificateParams, Error> {
        let mut params = authority_params(self.subject(name)?, validity);
        if let Self::Intermediate = self {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            add_addresses(&mut params, name, Self::Root.word())?;
        }
        Ok(params)
    }

    fn subject(self, name: &IssuerName) -> Result<DistinguishedName, Error> {
        subject::parse([
            ("O", name.namespace.as_str()),
            ("OU", self.word()),
            ("CN", name.authority.as_str()),
        ])
    }
}

impl Signer {
    fn root(name: &IssuerName, now: SystemTime) -> Result<Self, Error> {
        let params = Level::Root.params(name, now - DAY..now + ROOT_VALIDITY)?;
        let key = new_key()?;
        let certificate = params.self_signed(&key).map_err(generate)?;
        Self::new(&certificate, params, key)
    }

    fn intermediate(name: &IssuerName, root: &Self, now: SystemTime) -> Result<Self, Error> {
        let end = (now + INTERMEDIATE_VALIDITY).min(root.ends());
        let params = Level::Intermediate.params(name, now - DAY..end)?;
        let key = new_key()?;
        let certificate = params.signed_by(&key, &root.issuer).map_err(generate)?;
        Self::new(&certificate, params, key)
    }

    fn new(
        certificate: &rcgen::Certificate,
        params: CertificateParams,
        key: KeyPair,
    ) -> Result<Self, Error> {
        Ok(Self {
            certificate: Certificate::from_der(certificate.der().clone()).map_err(generate)?,
            issuer: Issuer::new(params, key),
        })
    }

    fn read(stored: &StoredSigner, name: &IssuerName, level: Level) -> Option<Self> {
        let key = Zeroizing::new(STANDARD.decode(&stored.key).ok()?);
        let key = KeyPair::try_from(&PrivatePkcs8KeyDer::from(&**key)).ok()?;
        let certificate = Certificate::from_text(&stored.certificate).ok()?;
        let own = SubjectPublicKeyInfoOwned::from_der(&key.subject_public_key_info()).ok()?;
        if PublicKey::new(&own)? != *certificate.public_key() {
            return None;
        }
        // A signature needs the subject and the key of the parameters only.
        let now = SystemTime::now();
        let params = level.params(name, now..now).ok()?;
        Some(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    fn stored(&self) -> StoredSigner {
        let key = Zeroizing::new(self.issuer.key().serialize_der());
        StoredSigner {
            certificate: self.certificate.der_base64(),
            key: STANDARD.encode(&*key),
        }
    }

    fn ends(&self) -> SystemTime {
        self.certificate.info().not_after_utc.into()
    }
}

/// The addresses of the issuer's CRL and certificate.
fn add_addresses(
    params: &mut CertificateParams,
    name: &IssuerName,
    level: &str,
) -> Result<(), Error> {
    let IssuerName {
        namespace,
        authority,
        ..
    } = name;
    let address = format!("{}/{namespace}/{authority}/{level}", choices::ADDRESS);
    params.crl_distribution_points = vec![CrlDistributionPoint {
        uris: vec![format!("{address}.crl")],
    }];
    let location = x509_cert::der::asn1::Ia5String::new(&format!("{address}.cer"));
    let issuers = AuthorityInfoAccessSyntax(vec![AccessDescription {
        access_method: ID_AD_CA_ISSUERS,
        access_location: GeneralName::UniformResourceIdentifier(location.map_err(generate)?),
    }]);
    let content = issuers.to_der().map_err(generate)?;
    // id-pe-authorityInfoAccess. Source: RFC 5280, 4.2.2.1.
    let oid = &[1, 3, 6, 1, 5, 5, 7, 1, 1];
    let extension = CustomExtension::from_oid_content(oid, content);
    params.custom_extensions.push(extension);
    Ok(())
}

fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(generate)
}

fn encode(root: &Signer, intermediate: &Signer) -> Result<Zeroizing<Vec<u8>>, Error> {
    let stored = serde_json::to_vec(&StoredKeys {
        root: root.stored(),
        intermediate: intermediate.stored(),
    });
    stored.map(Zeroizing::new).map_err(generate)
}

fn store_key(name: &IssuerName) -> String {
    let authority = name.authority.to_lowercase();
    format!("certificate-authority/{}/{authority}", name.namespace)
}

fn ia5(text: &str) -> Result<Ia5String, Error> {
    Ia5String::try_from(text).map_err(generate)
}

fn failed(error: crate::state::store::StoreError) -> Error {
    Error::new(ErrorKind::Store, "the store cannot be used").with_source(error)
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("intermediate", &self.intermediate.certificate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn stored_keys_are_refused_if_a_key_is_not_that_of_its_certificate() {
        let config: IssuingAuthority = "contoso/factory-1/all".parse().expect("valid");
        let now = SystemTime::now();
        let keys = Keys::new(&config.name, now).expect("new keys");
        let stored: Value = serde_json::from_slice(&keys.stored).expect("JSON");
        let read = |stored: &Value| Keys::read(stored.to_string().as_bytes(), &config.name);
        assert!(read(&stored).is_ok());
        for (place, value) in [
            ("/root/key", stored["intermediate"]["key"].clone()),
            ("/intermediate/key", stored["root"]["key"].clone()),
            (
                "/root/certificate",
                stored["intermediate"]["certificate"].clone(),
            ),
            ("/intermediate/key", json!("MC4=")),
            ("/intermediate/certificate", json!("")),
        ] {
            let mut changed = stored.clone();
            *changed.pointer_mut(place).expect("it exists") = value;
            let refused = read(&changed).expect_err(place);
            assert!(
                refused
                    .to_string()
                    .contains("contoso/factory-1/all are damaged")
            );
        }
    }
}
