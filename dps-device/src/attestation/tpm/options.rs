//! Which TPM, where in it the keys are, and what opens it.

use std::fmt;
use std::time::Duration;

use tss_esapi::handles::PersistentTpmHandle;
use zeroize::Zeroizing;

use super::tcti::Tcti;
use crate::error::Error;

/// How to use a TPM. The defaults are those of Azure's SDKs.
///
/// Debug shows no authorization value.
#[derive(Clone)]
pub struct TpmOptions {
    pub(super) tcti: Tcti,
    pub(super) endorsement_key: PersistentHandle,
    pub(super) storage_root_key: PersistentHandle,
    pub(super) hub_key: PersistentHandle,
    pub(super) template: EndorsementTemplate,
    pub(super) owner: AuthValue,
    pub(super) endorsement: AuthValue,
    pub(super) timeout: Duration,
}

impl TpmOptions {
    /// How long one use of the TPM may take, unless it is told otherwise. The first makes keys, and slow TPMs take half
    /// a minute for one.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

    /// How to reach the TPM. The default is [`Tcti::resource_manager`].
    #[must_use]
    pub fn with_tcti(mut self, tcti: Tcti) -> Self {
        self.tcti = tcti;
        self
    }

    /// Where the endorsement key is, or is to be kept. The default is [`PersistentHandle::ENDORSEMENT_KEY`].
    #[must_use]
    pub fn with_endorsement_key(mut self, handle: PersistentHandle) -> Self {
        self.endorsement_key = handle;
        self
    }

    /// Where the storage root key is, or is to be kept. The default is [`PersistentHandle::STORAGE_ROOT_KEY`].
    #[must_use]
    pub fn with_storage_root_key(mut self, handle: PersistentHandle) -> Self {
        self.storage_root_key = handle;
        self
    }

    /// Where the key for the IoT hub is to be kept. The default is [`PersistentHandle::HUB_KEY`].
    #[must_use]
    pub fn with_hub_key(mut self, handle: PersistentHandle) -> Self {
        self.hub_key = handle;
        self
    }

    /// How to make an endorsement key where none is kept. One that is kept is used as it is.
    #[must_use]
    pub fn with_endorsement_template(mut self, template: EndorsementTemplate) -> Self {
        self.template = template;
        self
    }

    /// The authorization value of the owner hierarchy. It is needed to keep a key, so for every registration. The default
    /// is the empty one.
    #[must_use]
    pub fn with_owner_auth(mut self, value: impl AsRef<[u8]>) -> Self {
        self.owner = AuthValue::new(value);
        self
    }

    /// The authorization value of the endorsement hierarchy. It is needed to make an endorsement key and to open a
    /// challenge. The default is the empty one.
    #[must_use]
    pub fn with_endorsement_auth(mut self, value: impl AsRef<[u8]>) -> Self {
        self.endorsement = AuthValue::new(value);
        self
    }

    /// How long one use of the TPM may take, the wait for its turn included. The default is
    /// [`DEFAULT_TIMEOUT`](Self::DEFAULT_TIMEOUT).
    ///
    /// The TPM cannot be interrupted: what it does when time is up it does to its end.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Default for TpmOptions {
    fn default() -> Self {
        Self {
            tcti: Tcti::default(),
            endorsement_key: PersistentHandle::ENDORSEMENT_KEY,
            storage_root_key: PersistentHandle::STORAGE_ROOT_KEY,
            hub_key: PersistentHandle::HUB_KEY,
            template: EndorsementTemplate::default(),
            owner: AuthValue::default(),
            endorsement: AuthValue::default(),
            timeout: Self::DEFAULT_TIMEOUT,
        }
    }
}

impl fmt::Debug for TpmOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TpmOptions")
            .field("tcti", &self.tcti)
            .field("endorsement_key", &self.endorsement_key)
            .field("storage_root_key", &self.storage_root_key)
            .field("hub_key", &self.hub_key)
            .field("endorsement_template", &self.template)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// How an endorsement key is made. The two give different keys on one TPM, so different registration ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EndorsementTemplate {
    /// As Azure's SDKs for C, Node and Java make it: `unique` is empty.
    #[default]
    Azure,
    /// As the TCG has it in *EK Credential Profile*, template L-1, and so tpm2-tools, IoT Edge and Azure's SDK for C#:
    /// `unique` is 256 zero bytes.
    Tcg,
}

/// A place for a key that the TPM keeps when it is switched off: 0x81000000 to 0x817fffff, where the owner keeps keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PersistentHandle(u32);

impl PersistentHandle {
    /// 0x81010001, where the TCG has the endorsement key.
    pub const ENDORSEMENT_KEY: Self = Self(0x8101_0001);
    /// 0x81000001, where the TCG has the storage root key.
    pub const STORAGE_ROOT_KEY: Self = Self(0x8100_0001);
    /// 0x81000100, where Azure's SDKs keep the key for the IoT hub.
    pub const HUB_KEY: Self = Self(0x8100_0100);
    /// 0x81000101, where a [`TpmKeyPair`](super::TpmKeyPair) is kept unless it is told otherwise.
    pub const KEY_PAIR: Self = Self(0x8100_0101);

    /// The place with this number.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the number is of another kind of handle.
    pub fn new(handle: u32) -> Result<Self, Error> {
        match handle {
            0x8100_0000..=0x817f_ffff => Ok(Self(handle)),
            _ => Err(Error::configuration(format!(
                "{handle:#010x} is no persistent handle of the owner: those are 0x81000000 to 0x817fffff"
            ))),
        }
    }

    /// Its number.
    pub fn value(self) -> u32 {
        self.0
    }

    pub(super) fn to_tss(self) -> PersistentTpmHandle {
        PersistentTpmHandle::new(self.0).expect("checked when it was made")
    }
}

impl fmt::Display for PersistentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Debug for PersistentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What opens a hierarchy or a key. It has no Debug.
#[derive(Clone, Default)]
pub(super) struct AuthValue(Zeroizing<Vec<u8>>);

impl AuthValue {
    pub(super) fn new(value: impl AsRef<[u8]>) -> Self {
        Self(Zeroizing::new(value.as_ref().to_vec()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_persistent_handles_are_taken() {
        for handle in [0x8100_0000, 0x8100_0100, 0x817f_ffff] {
            let place = PersistentHandle::new(handle).unwrap();
            assert_eq!(u32::from(place.to_tss()), handle);
        }
        for handle in [
            0,
            0x4000_0001,
            0x8000_0000,
            0x80ff_ffff,
            0x8180_0000,
            0x8200_0000,
        ] {
            PersistentHandle::new(handle).unwrap_err();
        }
        assert_eq!(PersistentHandle::HUB_KEY.to_string(), "0x81000100");
        assert_eq!(
            format!("{:?}", PersistentHandle::ENDORSEMENT_KEY),
            "0x81010001"
        );
    }

    #[test]
    fn debug_shows_no_authorization_value() {
        let options = TpmOptions::default()
            .with_owner_auth("hunter2")
            .with_endorsement_auth("swordfish");
        let text = format!("{options:?}");
        assert!(
            !text.contains("hunter2") && !text.contains("swordfish"),
            "{text}"
        );
        assert!(text.contains("0x81000100"), "{text}");
    }
}
