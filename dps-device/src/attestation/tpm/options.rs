//! The options of a TPM: its address, the handles of its keys, and its authorization values.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use dps_types::tpm::TpmPublic;
use tss_esapi::handles::PersistentTpmHandle;

use super::auth_value::{HierarchyAuth, KeyAuth};
use super::tcti::Tcti;
use crate::error::Error;

/// The options of a TPM. The defaults are those of Azure's SDKs.
///
/// Debug shows no authorization value.
///
/// ```no_run
/// # fn options() -> Result<dps_device::tpm::TpmOptions, dps_device::Error> {
/// use dps_device::tpm::{Tcti, TpmOptions};
///
/// let options = TpmOptions::default().with_tcti(Tcti::swtpm("127.0.0.1", 2321)?); // a software TPM, for tests
/// # Ok(options)
/// # }
/// ```
#[derive(Clone)]
pub struct TpmOptions {
    pub(super) tcti: Tcti,
    pub(super) endorsement_key: PersistentHandle,
    pub(super) storage_root_key: PersistentHandle,
    pub(super) hub_key: PersistentHandle,
    pub(super) hub_key_spare: PersistentHandle,
    pub(super) template: EndorsementTemplate,
    pub(super) owner: HierarchyAuth,
    pub(super) endorsement: HierarchyAuth,
    pub(super) storage_root_key_auth: KeyAuth,
    pub(super) hub_key_auth: KeyAuth,
    pub(super) expected_endorsement_key: Option<TpmPublic>,
    pub(super) encrypts: bool,
    pub(super) timeout: Duration,
}

impl TpmOptions {
    /// The default timeout of one use of the TPM. The first use creates keys, and a slow TPM needs half a minute for each.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);

    /// Sets the address of the TPM. The default is [`Tcti::resource_manager`].
    #[must_use]
    pub fn with_tcti(mut self, tcti: Tcti) -> Self {
        self.tcti = tcti;
        self
    }

    /// Sets the handle of the endorsement key. The default is [`PersistentHandle::ENDORSEMENT_KEY`].
    #[must_use]
    pub fn with_endorsement_key(mut self, handle: PersistentHandle) -> Self {
        self.endorsement_key = handle;
        self
    }

    /// Sets the handle of the storage root key. The default is [`PersistentHandle::STORAGE_ROOT_KEY`].
    #[must_use]
    pub fn with_storage_root_key(mut self, handle: PersistentHandle) -> Self {
        self.storage_root_key = handle;
        self
    }

    /// Sets the handle of the hub key. The default is [`PersistentHandle::HUB_KEY`].
    #[must_use]
    pub fn with_hub_key(mut self, handle: PersistentHandle) -> Self {
        self.hub_key = handle;
        self
    }

    /// Sets the handle at which a new hub key is stored while it replaces the previous one, so that a power failure leaves one of the
    /// two. It must be another handle than that of the hub key, and is free at all other times. The default is
    /// [`PersistentHandle::HUB_KEY_SPARE`].
    #[must_use]
    pub fn with_hub_key_spare(mut self, handle: PersistentHandle) -> Self {
        self.hub_key_spare = handle;
        self
    }

    /// Sets the template for an endorsement key that must be created. An existing key is used as it is.
    #[must_use]
    pub fn with_endorsement_template(mut self, template: EndorsementTemplate) -> Self {
        self.template = template;
        self
    }

    /// Sets the authorization value of the owner hierarchy. Every registration needs it, to store the hub key. The default is
    /// empty.
    #[must_use]
    pub fn with_owner_auth(mut self, value: HierarchyAuth) -> Self {
        self.owner = value;
        self
    }

    /// Sets the authorization value of the endorsement hierarchy, which is needed to create an endorsement key and to open a
    /// challenge. The default is empty.
    #[must_use]
    pub fn with_endorsement_auth(mut self, value: HierarchyAuth) -> Self {
        self.endorsement = value;
        self
    }

    /// Sets the authorization value of the storage root key, for a key that is created and for one that the TPM has. The default is
    /// empty, as TPMs are usually provisioned.
    #[must_use]
    pub fn with_storage_root_key_auth(mut self, value: KeyAuth) -> Self {
        self.storage_root_key_auth = value;
        self
    }

    /// Sets the authorization value that hub keys are stored with, and that signing with the hub key requires. The default is empty.
    ///
    /// The service sends the hub key without a value. The TPM does not lock after wrong values for it, so use a random value.
    #[must_use]
    pub fn with_hub_key_auth(mut self, value: KeyAuth) -> Self {
        self.hub_key_auth = value;
        self
    }

    /// Sets the endorsement key that the TPM must have. A TPM with another key is refused, and sessions are encrypted to this key, so that a
    /// device on the bus between this program and the TPM cannot pretend to be the TPM.
    ///
    /// A TPM without an endorsement key is refused as well, because such a device could hide the key. Only
    /// [`TpmAttestation::new`](super::TpmAttestation::new) creates it, and compares it before it is stored. With
    /// [`without_encryption`](Self::without_encryption) each use compares the key that the TPM presents, which detects another TPM, but
    /// not a device on the bus that copies the answers of the TPM.
    ///
    /// Without it, sessions protect against a device that only reads the bus: one that also changes what it transmits can present a
    /// storage root key of its own. Take the key from a trusted source, such as the enrollment or the manufacturer's certificate.
    ///
    /// Source: TCG, *TPM Library*, part 1, chapter 19.6 (session-based authorizations).
    #[must_use]
    pub fn with_expected_endorsement_key(mut self, key: TpmPublic) -> Self {
        self.expected_endorsement_key = Some(key);
        self
    }

    /// Sends authorization values and parameters unencrypted, and does not detect changed responses. By default they are encrypted with
    /// AES-128 (CFB) in a session that is salted to a key of the TPM.
    ///
    /// Each use of the TPM then needs one RSA decryption less. It is meant for a TPM inside the processor, which has no bus outside of
    /// it.
    #[must_use]
    pub fn without_encryption(mut self) -> Self {
        self.encrypts = false;
        self
    }

    /// Sets the timeout of one use of the TPM, including the wait for other uses. The default is
    /// [`DEFAULT_TIMEOUT`](Self::DEFAULT_TIMEOUT).
    ///
    /// A TPM cannot be interrupted: a command that is running at the timeout is finished in the background.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks that a new hub key does not replace the previous one before it is stored.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.hub_key == self.hub_key_spare {
            true => Err(Error::configuration(format!(
                "the hub key and its spare have the handle {}: choose another one for the spare (TpmOptions::with_hub_key_spare)",
                self.hub_key
            ))),
            false => Ok(()),
        }
    }
}

impl Default for TpmOptions {
    fn default() -> Self {
        Self {
            tcti: Tcti::default(),
            endorsement_key: PersistentHandle::ENDORSEMENT_KEY,
            storage_root_key: PersistentHandle::STORAGE_ROOT_KEY,
            hub_key: PersistentHandle::HUB_KEY,
            hub_key_spare: PersistentHandle::HUB_KEY_SPARE,
            template: EndorsementTemplate::default(),
            owner: HierarchyAuth::default(),
            endorsement: HierarchyAuth::default(),
            storage_root_key_auth: KeyAuth::default(),
            hub_key_auth: KeyAuth::default(),
            expected_endorsement_key: None,
            encrypts: true,
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
            .field("hub_key_spare", &self.hub_key_spare)
            .field("endorsement_template", &self.template)
            .field("encrypts", &self.encrypts)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The template of an endorsement key. The two templates produce different keys on one TPM, and so different registration ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum EndorsementTemplate {
    /// The template of Azure's SDKs for C, Node and Java: `unique` is empty.
    #[default]
    Azure,
    /// Template L-1 of the TCG's *EK Credential Profile*, which tpm2-tools, IoT Edge and Azure's SDK for C# use: `unique` is 256 zero
    /// bytes.
    Tcg,
}

/// The handle of a persistent object of the owner hierarchy: 0x81000000 to 0x817fffff.
///
/// It is parsed from a hexadecimal number with `0x`, as tpm2-tools print it, or from a decimal number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PersistentHandle(u32);

impl PersistentHandle {
    /// 0x81010001, the TCG's handle for the endorsement key.
    pub const ENDORSEMENT_KEY: Self = Self(0x8101_0001);
    /// 0x81000001, the TCG's handle for the storage root key.
    pub const STORAGE_ROOT_KEY: Self = Self(0x8100_0001);
    /// 0x81000100, the handle that Azure's SDKs use for the hub key.
    pub const HUB_KEY: Self = Self(0x8100_0100);
    /// 0x81000101, the default handle of a [`TpmKeyPair`](super::TpmKeyPair).
    pub const KEY_PAIR: Self = Self(0x8100_0101);

    /// 0x81000102, the default handle of a hub key that is about to replace another.
    pub const HUB_KEY_SPARE: Self = Self(0x8100_0102);

    /// The handle with this number.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the number is not in the range.
    pub fn new(handle: u32) -> Result<Self, Error> {
        match handle {
            0x8100_0000..=0x817f_ffff => Ok(Self(handle)),
            _ => Err(Error::configuration(format!(
                "{handle:#010x} is not a persistent handle of the owner hierarchy: the range is 0x81000000 to 0x817fffff"
            ))),
        }
    }

    /// The number of the handle.
    pub fn value(self) -> u32 {
        self.0
    }

    #[expect(clippy::expect_used, reason = "`new` checks the same range")]
    pub(super) fn to_tss(self) -> PersistentTpmHandle {
        PersistentTpmHandle::new(self.0).expect("the range was checked by `new`")
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

impl fmt::LowerHex for PersistentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

impl TryFrom<u32> for PersistentHandle {
    type Error = Error;

    fn try_from(handle: u32) -> Result<Self, Error> {
        Self::new(handle)
    }
}

impl From<PersistentHandle> for u32 {
    fn from(handle: PersistentHandle) -> Self {
        handle.0
    }
}

impl FromStr for PersistentHandle {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || {
            Error::configuration(format!(
                "{text:?} is not a valid TPM handle: it is a number such as 0x81000101"
            ))
        };
        Self::new(number(text).ok_or_else(invalid)?)
    }
}

/// Reads a hexadecimal number with `0x`, or a decimal number.
pub(super) fn number(text: &str) -> Option<u32> {
    let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_hexdigit());
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if is_number(digits) => u32::from_str_radix(digits, 16).ok(),
        None if is_number(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_persistent_handles_are_valid() {
        for handle in [0x8100_0000, 0x8100_0100, 0x817f_ffff] {
            let parsed = PersistentHandle::new(handle).unwrap();
            assert_eq!(u32::from(parsed.to_tss()), handle);
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
    fn a_handle_is_read_and_written_in_hexadecimal() {
        for text in ["0x81000101", "0X81000101", "2164261121"] {
            let handle: PersistentHandle = text.parse().unwrap();
            assert_eq!(handle, PersistentHandle::KEY_PAIR);
        }
        for text in [
            "",
            "0x",
            "81000101",
            "0x+1000101",
            "+2164261121",
            "0x1 ",
            "0x181000101",
        ] {
            let error = text.parse::<PersistentHandle>().unwrap_err();
            assert_eq!(
                error.kind(),
                crate::ErrorKind::InvalidConfiguration,
                "{text}"
            );
        }
        let handle = PersistentHandle::try_from(0x8100_0101).unwrap();
        assert_eq!(format!("{handle:x} {handle:#x}"), "81000101 0x81000101");
        assert_eq!(u32::from(handle), 0x8100_0101);
    }

    #[test]
    fn debug_shows_no_authorization_value() {
        let options = TpmOptions::default()
            .with_owner_auth(HierarchyAuth::new("hunter2").unwrap())
            .with_endorsement_auth(HierarchyAuth::new("hunter2").unwrap())
            .with_storage_root_key_auth(KeyAuth::new("hunter2").unwrap())
            .with_hub_key_auth(KeyAuth::new("hunter2").unwrap());
        let text = format!("{options:?}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("0x81000100"), "{text}");
    }
}
