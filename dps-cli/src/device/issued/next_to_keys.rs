//! The chains of issued certificates next to their keys in hardware, as a credential store.
//!
//! There are two keys. A new chain is stored with the other key than the one in use, so that a power failure leaves the pair in use
//! or both. If both keys have a chain, the newer certificate is the next one.

use std::cmp::Reverse;
use std::io;

use async_trait::async_trait;
use dps_device::certificate::{Credential, CredentialStore, KeySource, StoredCredentials};

use super::hardware_keys::{HardwareKeys, check_key, has_no_answer};
use crate::certificate::parsed::Parsed;

/// The size of a chain before the first one is known: a leaf and an intermediate certificate on P-256.
const USUAL_CHAIN: usize = 1200;

#[derive(Debug)]
pub(super) struct NextToKeys(pub(super) HardwareKeys);

#[async_trait]
impl CredentialStore for NextToKeys {
    /// A key that cannot be used with the options is left out, unless all are such keys.
    async fn load(&self) -> io::Result<StoredCredentials> {
        let (mut found, mut refused) = (Vec::new(), None);
        for name in self.0.list().await.map_err(io::Error::other)? {
            let chain = match self.0.chains().read_chain(&name).await {
                Ok(Some(chain)) => chain,
                Ok(None) => continue,
                Err(error) if has_no_answer(&error) => return Err(io::Error::other(error)),
                Err(error) => {
                    refused = Some(error);
                    continue;
                }
            };
            let leaf = chain.first().map(|der| Parsed::from_der(der));
            let Some(Ok(leaf)) = leaf else {
                continue;
            };
            // Certificates of the same second have an order as well, so that each start uses the same one.
            let age = (leaf.not_before, leaf.not_after, name.to_string());
            if let Ok(credential) = Credential::from_chain(name, chain) {
                found.push((age, credential));
            }
        }
        if let (true, Some(error)) = (found.is_empty(), refused) {
            return Err(io::Error::other(error));
        }
        found.sort_by_key(|(age, _)| Reverse(age.clone()));
        let mut newest = found.into_iter().map(|(_, credential)| credential);
        Ok(match (newest.next(), newest.next()) {
            (Some(next), Some(current)) => StoredCredentials::new(Some(current), Some(next)),
            (only, _) => StoredCredentials::new(only, None),
        })
    }

    async fn check_writable(&self, in_use: &[&str]) -> io::Result<()> {
        let chains = self.0.chains();
        let mut bytes = USUAL_CHAIN;
        for name in in_use {
            let chain = chains.read_chain(name).await.map_err(io::Error::other)?;
            if let Some(chain) = chain {
                let chain: Vec<_> = chain.iter().map(Vec::as_slice).collect();
                bytes = without_root(&chain).iter().map(|der| der.len()).sum();
            }
        }
        chains
            .check_place(in_use, bytes)
            .await
            .map_err(io::Error::other)
    }

    async fn save_next(&self, credential: &Credential) -> io::Result<()> {
        check_key(&self.0, credential).await?;
        let chain: Vec<_> = credential.chain().collect();
        let written = self.0.chains().write_chain(credential.key(), &chain).await;
        written.map_err(io::Error::other)
    }

    /// The newer one of two is in use, and the key of the other one is removed or replaced.
    async fn confirm_next(&self) -> io::Result<()> {
        Ok(())
    }

    async fn clear(&self) -> io::Result<()> {
        for name in self.0.list().await.map_err(io::Error::other)? {
            self.0.remove(&name).await.map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// The certificates that are sent in a TLS handshake. A leaf needs an issuer, so the root of a chain of two stays.
pub(super) fn without_root<'c, 'd>(chain: &'c [&'d [u8]]) -> &'c [&'d [u8]] {
    let is_root = |der: &[u8]| Parsed::from_der(der).is_ok_and(|read| read.is_self_signed());
    match chain.split_last() {
        Some((last, rest)) if rest.len() > 1 && is_root(last) => rest,
        _ => chain,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use dps_device::Error;
    use dps_device::certificate::MemoryKeySource;
    use dps_types::sas::SignError;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd,
    };

    use super::super::hardware_keys::ChainsWithKeys;
    use super::super::replaced::Replaced;
    use super::*;

    /// Two places of chains. `None` is a key that the hardware refuses.
    #[derive(Debug, Default)]
    struct Hardware {
        keys: Names,
        chains: Mutex<BTreeMap<String, Option<Vec<Vec<u8>>>>>,
    }

    #[derive(Debug, Default)]
    struct Names(MemoryKeySource);

    #[async_trait]
    impl KeySource for Names {
        async fn generate(
            &self,
            in_use: &[&str],
        ) -> Result<(zeroize::Zeroizing<String>, dps_device::certificate::KeyPair), Error> {
            self.0.generate(in_use).await
        }

        async fn open(&self, name: &str) -> Result<dps_device::certificate::KeyPair, Error> {
            self.0.open(name).await
        }

        async fn list(&self) -> Result<Vec<zeroize::Zeroizing<String>>, Error> {
            Ok(["place 1", "place 2"]
                .map(|name| name.to_owned().into())
                .into())
        }

        async fn remove(&self, _: &str) -> Result<(), Error> {
            Ok(())
        }
    }

    #[async_trait]
    impl ChainsWithKeys for Hardware {
        fn keys(&self) -> &dyn KeySource {
            &self.keys
        }

        async fn read_chain(&self, name: &str) -> Result<Option<Vec<Vec<u8>>>, Error> {
            let stored = self.chains.lock().unwrap().get(name).cloned();
            match stored {
                Some(Some(chain)) => Ok(Some(chain)),
                Some(None) => Err(MemoryKeySource::default().open("").await.unwrap_err()),
                None => Ok(None),
            }
        }

        async fn write_chain(&self, name: &str, chain: &[&[u8]]) -> Result<(), Error> {
            let chain = chain.iter().map(|der| der.to_vec()).collect();
            self.chains
                .lock()
                .unwrap()
                .insert(name.to_owned(), Some(chain));
            Ok(())
        }

        async fn remove_chain(&self, _: &str) -> Result<(), Error> {
            Ok(())
        }

        async fn check_place(&self, in_use: &[&str], bytes: usize) -> Result<(), Error> {
            Err(SignError::new(format!("{in_use:?} {bytes}")).into())
        }

        fn shown(&self, name: &str) -> String {
            name.to_owned()
        }
    }

    /// A leaf with these days of November, its intermediate certificate and the root.
    fn chain(days: (u8, u8)) -> [Vec<u8>; 3] {
        let key = || KeyPair::generate().unwrap();
        let authority = |name: &str| {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.distinguished_name = Default::default();
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
        let issuing = CertifiedIssuer::signed_by(authority("issuing"), key(), &root).unwrap();
        let mut params = CertificateParams::new(["toaster".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 11, days.0);
        params.not_after = date_time_ymd(2026, 11, days.1);
        let leaf = params.signed_by(&key(), &issuing).unwrap();
        [leaf.der(), issuing.der(), root.der()].map(|der| der.to_vec())
    }

    fn store(chains: [(&str, Option<Vec<Vec<u8>>>); 2]) -> NextToKeys {
        let chains = chains.map(|(name, chain)| (name.to_owned(), chain));
        NextToKeys(HardwareKeys::new(Arc::new(Hardware {
            chains: Mutex::new(chains.into()),
            ..Hardware::default()
        })))
    }

    /// The names of the keys of the current and the next certificate.
    async fn loaded(store: &NextToKeys) -> [Option<String>; 2] {
        let stored = store.load().await.unwrap();
        [stored.current, stored.next]
            .map(|credential| credential.map(|credential| credential.key().to_owned()))
    }

    #[tokio::test]
    async fn the_newer_one_of_two_certificates_is_the_next_one() {
        let place = |number: u8| Some(format!("place {number}"));
        for (first, second, next) in [
            ((1, 28), (2, 28), 2),
            ((2, 28), (1, 28), 1),
            // Of the same day, the one that is valid longer.
            ((1, 29), (1, 28), 1),
            ((1, 28), (1, 29), 2),
            // Of the same validity, the one of the second place.
            ((1, 28), (1, 28), 2),
        ] {
            let chains = [
                ("place 1", Some(chain(first).to_vec())),
                ("place 2", Some(chain(second).to_vec())),
            ];
            let loaded = loaded(&store(chains)).await;
            assert_eq!(
                loaded,
                [place(3 - next), place(next)],
                "{first:?} {second:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_used_does_not_hide_the_other_one() {
        let usable = Some(chain((1, 28)).to_vec());
        let one = store([("place 1", None), ("place 2", usable)]);
        assert_eq!(loaded(&one).await, [Some("place 2".to_owned()), None]);
        let none = store([("place 1", None), ("place 2", None)]);
        let error = none.load().await.unwrap_err().to_string();
        assert!(error.contains("the stored name is not"), "{error}");
    }

    #[tokio::test]
    async fn a_chain_of_another_key_is_not_stored() {
        let store = store([("place 1", None), ("place 2", None)]);
        let other = KeyPair::generate().unwrap();
        let other = MemoryKeySource::name(other.serialized_der());
        let credential = Credential::from_chain(other, chain((1, 28))).unwrap();
        let refused = store.save_next(&credential).await.unwrap_err();
        assert_eq!(Replaced::of(&refused), Some(Replaced::Key), "{refused}");
    }

    #[tokio::test]
    async fn the_place_of_the_next_chain_is_checked_with_the_size_of_the_current_one() {
        let chain = chain((1, 28));
        let sent = chain[0].len() + chain[1].len();
        let store = store([("place 1", Some(chain.to_vec())), ("place 2", None)]);
        let checked = async |in_use: &[&str]| store.check_writable(in_use).await.unwrap_err();
        let of = |error: io::Error| format!("{:#}", error.get_ref().unwrap());
        let error = of(checked(&["place 1"]).await);
        assert!(
            error.ends_with(&format!(r#"["place 1"] {sent}"#)),
            "{error}"
        );
        let error = of(checked(&[]).await);
        assert!(error.ends_with("[] 1200"), "{error}");
    }

    #[test]
    fn the_root_of_a_chain_of_two_stays() {
        let [leaf, issuing, root] = chain((1, 28));
        assert_eq!(without_root(&[&leaf, &issuing, &root]).len(), 2);
        assert_eq!(without_root(&[&leaf, &issuing]).len(), 2);
        assert_eq!(without_root(&[&leaf, &root]).len(), 2);
        assert_eq!(without_root(&[]).len(), 0);
    }
}
