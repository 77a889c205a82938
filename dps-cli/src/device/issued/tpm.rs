//! The key pairs of issued certificates in a TPM, with their chains: the NV index of a chain has the number of the handle of its key.

use async_trait::async_trait;
use dps_device::Error;
use dps_device::certificate::{KeySource, TpmKeySource};
use dps_device::tpm::{NvIndex, NvProblem, PersistentHandle, StoredChain, Tpm, TpmError};

use super::hardware_keys::ChainsWithKeys;
use super::next_to_keys::without_root;
use crate::failure::{Failure, Result};
use crate::files::chain_pem;

/// The default of the first handle.
const FIRST: u32 = 0x8100_0111;
/// The first handle of a persistent object, and the first NV index of the owner.
const HANDLES: u32 = 0x8100_0000;
const INDICES: u32 = 0x0180_0000;

#[derive(Debug)]
pub(super) struct KeysInTpm {
    source: TpmKeySource,
    tpm: Tpm,
    /// The names of the keys, with the indices of their chains. Empty if the chain is in a file.
    chains: Vec<(String, NvIndex)>,
}

/// The handles of the two keys, of which the user selects the first.
pub(super) fn handles(first: Option<&str>) -> Result<[PersistentHandle; 2]> {
    let first = match first {
        Some(text) => text.parse()?,
        None => PersistentHandle::new(FIRST)?,
    };
    Ok([first, PersistentHandle::new(first.value() + 1)?])
}

/// An error if the key of the attestation is at one of the handles: a new key would replace it.
pub(super) fn check_other(handles: [PersistentHandle; 2], attestation: &str) -> Result {
    let attestation: PersistentHandle = attestation.parse()?;
    match handles.contains(&attestation) {
        true => Err(Failure::usage(format!(
            "the key of --tpm-key is at {attestation}, which --new-key-tpm uses for new keys"
        ))
        .with_hint("use --new-key-handle for other handles")),
        false => Ok(()),
    }
}

/// An error if the attestation with the TPM keeps its hub key at one of the handles.
pub(super) fn check_hub_key(handles: [PersistentHandle; 2]) -> Result {
    let of_hub = [PersistentHandle::HUB_KEY, PersistentHandle::HUB_KEY_SPARE];
    match handles.iter().find(|handle| of_hub.contains(handle)) {
        Some(handle) => Err(Failure::usage(format!(
            "the TPM keeps the hub key of --tpm at {handle}, which --new-key-handle selects for a new key"
        ))
        .with_hint(format!(
            "use --new-key-handle for two other handles than {} and {}",
            of_hub[0], of_hub[1]
        ))),
        None => Ok(()),
    }
}

/// The name of the key at a handle, and the index of its chain.
fn chain(handle: PersistentHandle) -> Result<(String, NvIndex)> {
    let index = NvIndex::new(handle.value() - HANDLES + INDICES)?;
    match index.value() {
        // The other indices belong to the manufacturers and to the TCG.
        ..0x01c0_0000 => Ok((format!("tpm:{handle}"), index)),
        _ => Err(Failure::usage(format!(
            "the handle {handle} has no NV index for its certificate"
        ))
        .with_hint("use a handle from 0x81000000 to 0x813ffffe, or --certificate-out")),
    }
}

impl KeysInTpm {
    /// The keys of this source, which has these handles.
    pub(super) fn new(
        tpm: Tpm,
        handles: [PersistentHandle; 2],
        source: TpmKeySource,
        chain_is_in_file: bool,
    ) -> Result<Self> {
        let chains = match chain_is_in_file {
            true => Vec::new(),
            false => handles.into_iter().map(chain).collect::<Result<_>>()?,
        };
        Ok(Self {
            source,
            tpm,
            chains,
        })
    }

    /// The chain of the key with this name. `None` if the name is not one of the source, or the chain is in a file.
    fn chain(&self, name: &str) -> Option<StoredChain> {
        let (_, index) = self.chains.iter().find(|(known, _)| known == name)?;
        Some(self.tpm.stored_chain().with_index(*index))
    }
}

#[async_trait]
impl ChainsWithKeys for KeysInTpm {
    fn keys(&self) -> &dyn KeySource {
        &self.source
    }

    async fn read_chain(&self, name: &str) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let Some(chain) = self.chain(name) else {
            return Ok(None);
        };
        let chain = match chain.read().await {
            Ok(chain) => chain,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let chain: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
        let pem = chain_pem(&chain);
        // The chain of an earlier key at this handle stays in its index until it is replaced.
        let key = self.source.open(name).await?;
        Ok(key.identity(pem).is_ok().then_some(chain))
    }

    /// Without the root if the TPM has no space for it: an NV index is small, and the root is not sent to a server.
    async fn write_chain(&self, name: &str, chain: &[&[u8]]) -> Result<(), Error> {
        let Some(stored) = self.chain(name) else {
            return self.source.open(name).await.map(drop);
        };
        let written = stored.write(chain_pem(chain)).await;
        let shorter = without_root(chain);
        match written {
            Err(error) if is_full(&error) && shorter.len() < chain.len() => {
                stored.write(chain_pem(shorter)).await
            }
            written => written,
        }
    }

    async fn remove_chain(&self, name: &str) -> Result<(), Error> {
        match self.chain(name) {
            Some(chain) => chain.remove().await,
            None => Ok(()),
        }
    }

    async fn check_place(&self, in_use: &[&str], bytes: usize) -> Result<(), Error> {
        let mut places = self.chains.iter();
        match places.find(|(name, _)| !in_use.contains(&name.as_str())) {
            Some((_, index)) => {
                let chain = self.tpm.stored_chain().with_index(*index);
                chain.check_writable(bytes).await
            }
            None => Ok(()),
        }
    }

    fn shown(&self, name: &str) -> String {
        name.to_owned()
    }
}

/// True if the index does not exist, or its writing was interrupted.
fn is_missing(error: &Error) -> bool {
    matches!(
        nv_problem(error),
        Some(NvProblem::NotFound | NvProblem::Blank)
    )
}

/// True if the TPM has no space for this much.
fn is_full(error: &Error) -> bool {
    matches!(
        nv_problem(error),
        Some(NvProblem::NoSpace | NvProblem::TooLarge)
    )
}

fn nv_problem(error: &Error) -> Option<NvProblem> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<TpmError>()?.nv_problem()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_does_not_have_a_handle_of_the_hub_key() {
        for (first, is_free) in [
            ("0x810000fe", true),
            ("0x810000ff", false),
            ("0x81000100", false),
            ("0x81000101", false),
            ("0x81000102", false),
            ("0x81000103", true),
            ("0x81000111", true),
        ] {
            let checked = check_hub_key(handles(Some(first)).unwrap());
            assert_eq!(checked.is_ok(), is_free, "{first}");
        }
    }
}
