//! The place of an issued certificate and its key pair: the certificate in use is found, and a new one replaces it.

use std::ffi::OsString;
use std::io;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use dps_device::certificate::{
    CertificateOptions, CertificateRequest, Credential, CredentialStore, IssuedCertificate,
    KeyKind, KeySource, MemoryKeySource,
};
use dps_device::{Error, ErrorKind, RegistrationId};
use dps_types::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::files::IssuedFiles;
use super::hardware_keys::{HardwareKeys, check_key, has_no_answer};
use super::replaced::Replaced;
use super::store_error::{key_error, may_be_brief};
use crate::document::add;
use crate::failure::{Exit, Failure, Result};
use crate::input;

/// A source of key pairs, and the store that keeps the chain of the key in use.
pub(in crate::device) struct IssuedPlace {
    pub(super) keys: Arc<dyn KeySource>,
    pub(super) store: Arc<dyn CredentialStore>,
    /// The files of the private key and the chain. `None` for a key in hardware.
    pub(super) files: Option<IssuedFiles>,
    /// The file of the chain. `None` if it is next to the key.
    pub(super) chain_file: Option<PathBuf>,
    /// The two keys in hardware.
    hardware: Option<HardwareKeys>,
}

/// A certificate, and the name of its key.
#[derive(Clone)]
pub(in crate::device) struct Held {
    pub(in crate::device) name: Zeroizing<String>,
    pub(in crate::device) certificate: IssuedCertificate,
}

impl IssuedPlace {
    pub(super) fn files(files: IssuedFiles, kind: KeyKind) -> Self {
        Self {
            keys: Arc::new(MemoryKeySource::new(kind)),
            chain_file: Some(files.chain.clone()),
            store: Arc::new(files.clone()),
            files: Some(files),
            hardware: None,
        }
    }

    /// Two places for keys in hardware.
    pub(super) fn hardware(keys: HardwareKeys, store: impl CredentialStore + 'static) -> Self {
        Self {
            keys: Arc::new(keys.clone()),
            store: Arc::new(store),
            files: None,
            chain_file: None,
            hardware: Some(keys),
        }
    }

    pub(super) fn with_chain_file(mut self, file: &Path) -> Self {
        self.chain_file = Some(file.to_owned());
        self
    }

    /// The options for a device that renews the certificate itself.
    pub(in crate::device) fn options(&self) -> CertificateOptions {
        CertificateOptions::new(self.store.clone(), self.keys.clone())
    }

    /// The certificate in use, the newest one. `None` before the first one, or if `overwrite` allows the replacement of that of another
    /// device.
    ///
    /// # Errors
    /// If the place has the certificate of another device, a key that cannot be used with the options, or two keys without a
    /// certificate, or if it cannot be read.
    pub(in crate::device) async fn held(
        &self,
        id: &RegistrationId,
        overwrite: bool,
    ) -> Result<Option<Held>> {
        let found = self.find(id, overwrite).await?;
        Ok(found.map(|(held, _)| held))
    }

    /// As [`held`](Self::held). A certificate that was stored next to the one in use, and was not in use yet when the power failed, is
    /// put into use.
    pub(in crate::device) async fn completed(
        &self,
        id: &RegistrationId,
        overwrite: bool,
    ) -> Result<Option<Held>> {
        let Some((held, is_next)) = self.find(id, overwrite).await? else {
            return Ok(None);
        };
        if is_next {
            self.store.confirm_next().await?;
        }
        Ok(Some(held))
    }

    /// The newest certificate, and true if it is stored next to the one in use.
    async fn find(&self, id: &RegistrationId, overwrite: bool) -> Result<Option<(Held, bool)>> {
        let stored = match self.store.load().await {
            Ok(stored) => stored,
            Err(error) => match key_error(&error) {
                Some(refused) if overwrite && !has_no_answer(refused) => return Ok(None),
                Some(refused) => return Err(self.unusable(id, refused)),
                None => return Err(error.into()),
            },
        };
        if let Some(next) = stored.next {
            match self.open(next, id).await {
                Ok(held) => return Ok(Some((held, true))),
                Err(error) if has_no_answer(&error) => return Err(error.into()),
                // It is replaced by the next renewal.
                Err(_) => {}
            }
        }
        let foreign = match stored.current {
            Some(current) => match self.open(current, id).await {
                Ok(held) => return Ok(Some((held, false))),
                Err(error) if has_no_answer(&error) => return Err(error.into()),
                Err(error) => self.unusable(id, &error),
            },
            None if self.has_file()? => self.foreign(id),
            // One key without a certificate is left when the first registration is interrupted.
            None if self.keys.list().await?.len() > 1 => no_certificate(id),
            None => return Ok(None),
        };
        match overwrite {
            true => Ok(None),
            false => Err(foreign),
        }
    }

    pub(super) async fn open(
        &self,
        credential: Credential,
        id: &RegistrationId,
    ) -> Result<Held, Error> {
        let certificate = credential.open(id, &*self.keys).await?;
        let name = Zeroizing::new(credential.key().to_owned());
        Ok(Held { name, certificate })
    }

    /// An error if the next certificate cannot be stored: it is not requested in that case.
    pub(in crate::device) async fn check_writable(&self, held: Option<&Held>) -> Result {
        let in_use: Vec<_> = held.iter().map(|held| held.name.as_str()).collect();
        let checked = self.store.check_writable(&in_use).await;
        checked.map_err(|error| match key_error(&error) {
            Some(error) => error.clone().into(),
            None if may_be_brief(&error) => error.into(),
            None => Failure::usage(error.to_string()),
        })
    }

    /// An error if there is a key or a file already.
    pub(in crate::device) async fn check_free(&self) -> Result {
        for file in self.files_of_it() {
            if input::exists(file)? {
                return Err(exists(&file.display().to_string()));
            }
        }
        match self.keys.list().await?.first() {
            Some(name) => Err(exists(&self.name(name))),
            None => Ok(()),
        }
    }

    /// Generates a key pair, and the request of its certificate. The key pair of the certificate in use stays. A private key for a file
    /// is written next to the one in use, so that it is not lost if the certificate cannot be stored.
    pub(in crate::device) async fn request(
        &self,
        id: &RegistrationId,
        held: Option<&Held>,
    ) -> Result<(Zeroizing<String>, CertificateRequest)> {
        let in_use: Vec<_> = held.iter().map(|held| held.name.as_str()).collect();
        let (name, key) = self.keys.generate(&in_use).await?;
        if let Some(files) = &self.files {
            files.write_next_key(&key)?;
        }
        match CertificateRequest::new(id.clone(), key).await {
            Ok(request) => Ok((name, request)),
            Err(error) => {
                let failure = Failure::from(error);
                Err(match self.discard(&name).await {
                    Ok(()) => failure,
                    Err(left) => failure.with_hint(format!(
                        "the new key is not used, and cannot be removed: {left}"
                    )),
                })
            }
        }
    }

    /// Removes the keys of earlier certificates. A source without places has none.
    pub(in crate::device) async fn remove_others(&self, in_use: &Held) -> Result {
        let left = |error: &(dyn std::error::Error + 'static)| {
            let what =
                "the certificate is in use, but the key of the earlier one cannot be removed";
            Failure::new(Exit::Partial, what).because(error)
        };
        let mut others = self.keys.list().await.map_err(|error| left(&error))?;
        others.retain(|name| *name != in_use.name);
        if others.is_empty() {
            return Ok(());
        }
        // The earlier pair is the only usable one if another program has replaced the new key.
        let credential = Credential::new(in_use.name.clone(), &in_use.certificate);
        let checked = check_key(&*self.keys, &credential).await;
        checked.map_err(|error| match Replaced::of(&error) {
            Some(replaced) => replaced.failure("the earlier key is not removed", ""),
            None => left(&error),
        })?;
        for name in others {
            let removed = self.keys.remove(&name).await;
            removed.map_err(|error| left(&error))?;
        }
        Ok(())
    }

    /// Removes a key whose certificate was not issued.
    pub(in crate::device) async fn discard(&self, name: &str) -> Result {
        self.discard_file()?;
        Ok(self.keys.remove(name).await?)
    }

    /// Removes the file of a key whose certificate was not issued. A key in hardware stays until it is replaced.
    pub(in crate::device) fn discard_file(&self) -> io::Result<()> {
        match &self.files {
            Some(files) => files.remove_next_key(),
            None => Ok(()),
        }
    }

    pub(in crate::device) fn describe(&self, held: &Held) -> Value {
        let certificate = &held.certificate;
        let mut document = describe(certificate, self.chain_file.as_deref(), self.key_file());
        if self.hardware.is_some() {
            add(&mut document, "key", self.name(&held.name));
        }
        document
    }

    /// The variables that describe the certificate to a command.
    pub(in crate::device) fn variables(&self, held: &Held) -> Vec<(&'static str, OsString)> {
        let absolute = |path: &Path| path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let file = |file: Option<&Path>| file.map(|file| absolute(file).into());
        let key = self
            .hardware
            .is_some()
            .then(|| self.name(&held.name).into());
        let variables = [
            ("DPS_CERTIFICATE_FILE", file(self.chain_file.as_deref())),
            ("DPS_PRIVATE_KEY_FILE", file(self.key_file())),
            ("DPS_PRIVATE_KEY", key),
        ];
        variables
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    fn files_of_it(&self) -> impl Iterator<Item = &Path> {
        let files = [self.key_file(), self.chain_file.as_deref()];
        files.into_iter().flatten()
    }

    /// The file of the private key. `None` in hardware.
    fn key_file(&self) -> Option<&Path> {
        self.files.as_ref().map(|files| files.key.as_path())
    }

    fn has_file(&self) -> Result<bool> {
        for file in self.files_of_it() {
            if input::exists(file)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The name of a key in hardware. The name of a key in memory is a secret.
    pub(super) fn name(&self, name: &str) -> String {
        self.hardware
            .as_ref()
            .map_or_else(String::new, |keys| keys.chains().shown(name))
    }

    /// The failure for a key or a certificate that cannot be used.
    fn unusable(&self, id: &RegistrationId, error: &Error) -> Failure {
        match error.kind() {
            ErrorKind::Certificate => self.foreign(id).because(error),
            _ if has_no_answer(error) => error.clone().into(),
            _ => Failure::from(error.clone()).with_hint(
                "check the options of the key; `dps renew --overwrite` replaces the key",
            ),
        }
    }

    fn foreign(&self, id: &RegistrationId) -> Failure {
        let mut files: Vec<_> = self
            .files_of_it()
            .map(|file| file.display().to_string())
            .collect();
        files.reverse();
        let what = match files.is_empty() {
            true => {
                format!("the keys in the hardware are not those of the issued certificate of {id}")
            }
            false => format!(
                "{} are not the issued certificate of {id} and its private key",
                files.join(" and ")
            ),
        };
        Failure::usage(what).with_hint("use other names, or --overwrite to replace them")
    }
}

fn no_certificate(id: &RegistrationId) -> Failure {
    Failure::usage(format!(
        "both places of a new key have a key, and no certificate of {id} is stored for them"
    ))
    .with_hint("use another place, or --overwrite to replace a key")
}

fn exists(what: &str) -> Failure {
    Failure::usage(format!("{what} exists")).with_hint("use --overwrite to replace it")
}

/// The files and the validity of a certificate.
pub(super) fn describe(
    certificate: &IssuedCertificate,
    file: Option<&Path>,
    key_file: Option<&Path>,
) -> Value {
    json!({
        "file": file,
        "keyFile": key_file,
        "validFrom": Timestamp::from(certificate.valid_from()),
        "validUntil": Timestamp::from(certificate.valid_until()),
    })
}
