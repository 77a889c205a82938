//! The place of a key: the options that name it, and its operations.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use dps_device::certificate::{KeyKind, KeyPair, KeySource};
use zeroize::Zeroizing;

use super::file::KeyFile;
use crate::failure::{Exit, Failure, Result};
use crate::hardware::{self, TpmAccess, USES_TPM};

/// The place of the key.
#[derive(Args)]
#[command(group = ArgGroup::new("place").required(true))]
pub(super) struct PlaceOptions {
    /// Key in a PKCS#11 token, by its URI. The variable DPS_PIN contains the PIN. Requires the feature pkcs11
    #[arg(long, value_name = "URI", group = "place")]
    pkcs11: Option<String>,
    /// Key in the TPM of this machine, or in the one that the value names, such as swtpm:host=127.0.0.1,port=2321. Requires the
    /// feature tpm
    #[arg(long, value_name = "TCTI", num_args = 0..=1, default_missing_value = "", groups = ["place", USES_TPM])]
    tpm: Option<String>,
    /// Handle of the key in the TPM; 0x81000101 by default
    #[arg(long, value_name = "HANDLE", requires = "tpm")]
    handle: Option<String>,
    #[command(flatten)]
    tpm_access: TpmAccess,
    /// Key in a file, in PEM
    #[arg(long, value_name = "FILE", group = "place")]
    file: Option<PathBuf>,
}

/// The TPM of a command for TPMs only.
#[derive(Args)]
#[cfg_attr(not(feature = "tpm"), allow(dead_code, reason = "no TPM"))]
pub(super) struct TpmPlace {
    /// The TPM that the value names, such as swtpm:host=127.0.0.1,port=2321. By default that of this machine. Requires the feature
    /// tpm
    #[arg(long, value_name = "TCTI", num_args = 0..=1, default_value = "", default_missing_value = "", hide_default_value = true, group = USES_TPM)]
    tpm: String,
    #[command(flatten)]
    tpm_access: TpmAccess,
}

#[cfg(feature = "tpm")]
impl TpmPlace {
    pub(super) async fn open(&self) -> Result<dps_device::tpm::Tpm> {
        hardware::tpm(&self.tpm, &self.tpm_access).await
    }
}

/// One or more places of keys.
pub(super) struct Place {
    pub(super) keys: Box<dyn KeySource>,
    #[cfg(feature = "pkcs11")]
    token: Option<(dps_device::pkcs11::Token, dps_device::pkcs11::Uri)>,
}

impl PlaceOptions {
    /// All keys that the options select: without a handle, all of the TPM.
    pub(super) async fn every(&self) -> Result<Place> {
        self.open(KeyKind::default(), self.handle.is_none()).await
    }

    /// The only key that the options select.
    pub(super) async fn one(&self) -> Result<Place> {
        self.open(KeyKind::default(), false).await
    }

    /// The place of a new key.
    pub(super) async fn new_key(&self, kind: KeyKind) -> Result<Place> {
        self.open(kind, false).await
    }

    async fn open(&self, kind: KeyKind, all_of_tpm: bool) -> Result<Place> {
        if let Some(uri) = &self.pkcs11 {
            return in_token(uri, kind).await;
        }
        if let Some(tcti) = &self.tpm {
            let (access, handle) = (&self.tpm_access, self.handle.as_deref());
            return in_tpm(tcti, access, handle, all_of_tpm, kind).await;
        }
        match &self.file {
            Some(path) => Ok(Place::new(KeyFile {
                path: path.clone(),
                kind,
            })),
            None => Err(Failure::usage("the place of the key is missing")
                .with_hint("use --pkcs11, --tpm or --file")),
        }
    }
}

impl Place {
    fn new(keys: impl KeySource + 'static) -> Self {
        Self {
            keys: Box::new(keys),
            #[cfg(feature = "pkcs11")]
            token: None,
        }
    }

    /// The name of the only key.
    pub(super) async fn name(&self) -> Result<Zeroizing<String>> {
        let mut names = self.keys.list().await?;
        match names.len() {
            0 => Err(
                Failure::new(Exit::NotFound, "the private key does not exist")
                    .with_hint("`dps key list` lists the keys"),
            ),
            1 => Ok(names.remove(0)),
            _ => {
                let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
                Err(
                    Failure::usage("the URI selects more than one private key").with_hint(format!(
                        "add the object and the id of one of them: {}",
                        names.join(", ")
                    )),
                )
            }
        }
    }

    /// The only key, and its name.
    pub(super) async fn open(&self) -> Result<(Zeroizing<String>, KeyPair)> {
        let name = self.name().await?;
        let key = self.keys.open(&name).await?;
        Ok((name, key))
    }

    pub(super) fn is_in_use(&self, names: &[&str]) -> Failure {
        let names = names.join(", ");
        Failure::new(
            Exit::Conflict,
            format!("a private key exists already: {names}"),
        )
        .with_hint("use another name, or --overwrite to replace it permanently")
    }

    /// Stores a chain that was checked, and returns true, if this is a token. Other places require a file for it.
    pub(super) async fn store_chain(&self, chain: &str, has_file: bool) -> Result<bool> {
        #[cfg(feature = "pkcs11")]
        if let Some((token, uri)) = &self.token {
            token.store_chain(uri, chain).await?;
            return Ok(true);
        }
        let _ = chain;
        match has_file {
            true => Ok(false),
            false => Err(
                Failure::usage("only a PKCS#11 token stores certificates with its keys")
                    .with_hint("use --certificate to write the chain to a file"),
            ),
        }
    }
}

#[cfg(feature = "pkcs11")]
async fn in_token(uri: &str, kind: KeyKind) -> Result<Place> {
    use dps_device::certificate::Pkcs11KeySource;

    let (token, uri) = hardware::token(uri).await?;
    Ok(Place {
        keys: Box::new(Pkcs11KeySource::selected(token.clone(), &uri, kind)),
        token: Some((token, uri)),
    })
}

#[cfg(not(feature = "pkcs11"))]
async fn in_token(_: &str, _: KeyKind) -> Result<Place> {
    Err(hardware::missing_feature("pkcs11"))
}

#[cfg(feature = "tpm")]
async fn in_tpm(
    tcti: &str,
    access: &TpmAccess,
    handle: Option<&str>,
    all: bool,
    kind: KeyKind,
) -> Result<Place> {
    use dps_device::certificate::TpmKeySource;
    use dps_device::tpm::PersistentHandle;

    let handle = match handle {
        Some(text) => text.parse()?,
        None => PersistentHandle::KEY_PAIR,
    };
    let tpm = hardware::tpm(tcti, access).await?;
    let handles = match all {
        true => tpm.key_pairs().await?,
        false => vec![handle],
    };
    Ok(Place::new(TpmKeySource::selected(tpm, handles, kind)))
}

#[cfg(not(feature = "tpm"))]
async fn in_tpm(_: &str, _: &TpmAccess, _: Option<&str>, _: bool, _: KeyKind) -> Result<Place> {
    Err(hardware::missing_feature("tpm"))
}
