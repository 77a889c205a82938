//! Response codes: their names, and advice for each.
//!
//! Sources: TCG, *Trusted Platform Module Library*, part 2 chapter 6.6; TCG, *TSS 2.0 Overview and Common Structures*,
//! chapter 3.

use std::fmt;

use super::nv_problem::NvProblem;
use crate::ErrorKind;

/// The response code of a command or of a layer of the TSS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResponseCode(pub(super) u32);

/// The commands that open a key that the service has encrypted for the TPM.
const UNWRAPPING: [&str; 3] = ["TPM2_ActivateCredential", "TPM2_Import", "TPM2_Load"];

/// The commands that set the authorization value of a key.
const CREATING: [&str; 3] = ["TPM2_CreatePrimary", "TPM2_Create", "TPM2_ObjectChangeAuth"];

const FORMAT_ONE: u32 = 0x80;

/// What is done in place of a command while the TPM is opened.
pub(super) const CONNECTING: &str = "connecting";

/// libtss2: the TCTI is not ready.
const TRY_AGAIN: u32 = 0x09;

/// libtss2: the HMAC of a response is wrong.
const RSP_AUTH_FAILED: u32 = 0x1b;

mod layer {
    pub(super) const TPM: u32 = 0;
    pub(super) const ESYS: u32 = 7;
    pub(super) const SYS: u32 = 8;
    pub(super) const MARSHALLING: u32 = 9;
    pub(super) const TCTI: u32 = 10;
    pub(super) const RESOURCE_MANAGER: u32 = 11;
    pub(super) const RESOURCE_MANAGER_TPM: u32 = 12;
}

impl ResponseCode {
    /// The name in the specification.
    pub(super) fn name(self) -> Option<&'static str> {
        if !self.is_of_tpm() {
            return match (self.layer(), self.0 & 0xffff) {
                (layer::ESYS, 0x11) => Some("TSS2_ESYS_RC_MALFORMED_RESPONSE"),
                (layer::ESYS, RSP_AUTH_FAILED) => Some("TSS2_ESYS_RC_RSP_AUTH_FAILED"),
                (layer::SYS, 0x11) => Some("TSS2_SYS_RC_MALFORMED_RESPONSE"),
                (layer::SYS, 0x13) => Some("TSS2_SYS_RC_INSUFFICIENT_RESPONSE"),
                (layer::TCTI, 0x08) => Some("TSS2_TCTI_RC_NO_CONNECTION"),
                (layer::TCTI, TRY_AGAIN) => Some("TSS2_TCTI_RC_TRY_AGAIN"),
                (layer::TCTI, 0x0a) => Some("TSS2_TCTI_RC_IO_ERROR"),
                (layer::TCTI, 0x0b) => Some("TSS2_TCTI_RC_BAD_VALUE"),
                (layer::TCTI, 0x0c) => Some("TSS2_TCTI_RC_NOT_PERMITTED"),
                (layer::TCTI, 0x18) => Some("TSS2_TCTI_RC_NOT_SUPPORTED"),
                _ => None,
            };
        }
        let base = self.base();
        NAMES
            .iter()
            .find(|(code, _)| *code == base)
            .map(|(_, name)| *name)
    }

    /// The likely cause, and what to do about it.
    pub(super) fn advice(self, command: &str) -> &'static str {
        match self.layer() {
            layer::TCTI if command != CONNECTING => {
                return "the connection to the TPM failed: check the TPM, its driver and its resource manager";
            }
            layer::TCTI => {
                return "there is no TPM at this TCTI, it is in use, the user is not allowed to open it (group tss), or the \
                        library of the TCTI is not installed (Debian packages libtss2-tcti-*)";
            }
            layer::ESYS if self.0 & 0xffff == RSP_AUTH_FAILED => {
                return "the response was changed between the TPM and this program, or is not from the expected TPM: check the bus of \
                        the TPM and the programs in between";
            }
            layer::ESYS | layer::SYS => {
                return "the response of the TPM is malformed: it was changed on its way, or the TPM has failed";
            }
            layer::MARSHALLING => {
                return "the key from the service is malformed, or this TSS does not support its kind";
            }
            _ if !self.is_of_tpm() => return "the TSS reported an error",
            _ => {}
        }
        let unwrapping = UNWRAPPING.contains(&command);
        match self.base() {
            rc::BAD_AUTH | rc::AUTH_FAIL | rc::AUTH_UNAVAILABLE => {
                "an authorization value is wrong: check those of the owner hierarchy, the endorsement hierarchy and the key; if they \
                 are right, the command was changed on its way to the TPM"
            }
            rc::LOCKOUT => {
                "the TPM is locked after too many wrong authorization values: wait, or reset it with tpm2_dictionarylockout"
            }
            rc::OBJECT_MEMORY
            | rc::SESSION_MEMORY
            | rc::MEMORY
            | rc::SESSION_HANDLES
            | rc::OBJECT_HANDLES => {
                "other programs have left objects in the TPM: use the resource manager /dev/tpmrm0, or flush the objects"
            }
            rc::NV_SPACE => {
                "the TPM has no space for another key or NV index: remove one that is not used"
            }
            rc::NV_DEFINED => "the handle is in use by another object",
            rc::NV_LOCKED => "the NV index is locked: until the next restart, or permanently",
            rc::NV_UNINITIALIZED => "the NV index was never written",
            rc::NV_AUTHORIZATION => "the attributes of the NV index do not allow this",
            rc::NV_RATE | rc::NV_UNAVAILABLE => {
                "the TPM does not accept writes now: try again later"
            }
            rc::RETRY | rc::YIELDED | rc::TESTING | rc::CANCELED => "the TPM is busy: try again",
            rc::INITIALIZE => "the TPM was not started: the firmware must do so (TPM2_Startup)",
            // libtpms reports this for a secret that is encrypted to another endorsement key.
            rc::FAILURE if unwrapping => {
                "the key from the service is not for this TPM (check that the enrollment has this TPM's endorsement key), \
                 or the TPM itself has failed"
            }
            rc::FAILURE | rc::REBOOT | rc::NEEDS_TEST => "the TPM has failed: restart the device",
            _ if self.is_pcr_changed(command) => {
                "a PCR was extended while the key was used, in each of several attempts: try again later"
            }
            rc::SIZE if CREATING.contains(&command) => {
                "a length is wrong: the authorization value of a key has at most 32 bytes"
            }
            rc::ECC_POINT if command == "TPM2_LoadExternal" => {
                "the authority's public key is not a point on P-256"
            }
            rc::SIGNATURE if command == "TPM2_VerifySignature" => {
                "the approval of the measured state was not signed by the authority of the key's policy"
            }
            rc::DISABLED | rc::COMMAND_CODE => "this TPM does not support this command",
            rc::HIERARCHY => "the firmware has disabled this hierarchy",
            rc::POLICY_FAIL if unwrapping => {
                "the policy of the endorsement key is not supported: it must be the authorization of the endorsement hierarchy"
            }
            base if unwrapping && (base & FORMAT_ONE != 0 || base == rc::SENSITIVE) => {
                "the key from the service is not for this TPM, or was altered: check that the enrollment has this TPM's \
                 endorsement key"
            }
            rc::POLICY_FAIL => {
                "the policy of the key is not satisfied: open it with the policy that it was created with"
            }
            rc::HANDLE => "there is no object at this handle, or an object of another kind",
            rc::KEY_SIZE
            | rc::CURVE
            | rc::ASYMMETRIC
            | rc::HASH
            | rc::SCHEME
            | rc::VALUE
            | rc::TYPE => "this TPM or this key does not support this algorithm",
            _ => "the TPM refused the command",
        }
    }

    /// The kind of the error of a command, which determines who must act.
    pub(super) fn kind(self, command: &str) -> ErrorKind {
        if self.layer() == layer::TCTI {
            return match (command, self.0 & 0xffff) {
                (CONNECTING, _) => ErrorKind::InvalidConfiguration,
                (_, TRY_AGAIN) => ErrorKind::Deadline,
                // The TPM was there.
                _ => ErrorKind::Signing,
            };
        }
        if !self.is_of_tpm() {
            return ErrorKind::Signing;
        }
        match self.base() {
            // Each attempt came at the wrong moment. A PCR of the policy that has changed would have been named.
            _ if self.is_pcr_changed(command) => ErrorKind::Deadline,
            rc::POLICY_FAIL if !UNWRAPPING.contains(&command) => ErrorKind::KeyPolicy,
            rc::SIGNATURE if command == "TPM2_VerifySignature" => ErrorKind::InvalidConfiguration,
            rc::ECC_POINT if command == "TPM2_LoadExternal" => ErrorKind::InvalidConfiguration,
            rc::BAD_AUTH
            | rc::AUTH_FAIL
            | rc::AUTH_UNAVAILABLE
            | rc::HANDLE
            | rc::HIERARCHY
            | rc::NV_SPACE
            | rc::NV_DEFINED
            | rc::NV_LOCKED
            | rc::NV_UNINITIALIZED
            | rc::NV_AUTHORIZATION
            | rc::KEY_SIZE
            | rc::CURVE
            | rc::ASYMMETRIC
            | rc::HASH
            | rc::SCHEME
            | rc::VALUE => ErrorKind::InvalidConfiguration,
            rc::RETRY
            | rc::YIELDED
            | rc::TESTING
            | rc::CANCELED
            | rc::NV_RATE
            | rc::NV_UNAVAILABLE => ErrorKind::Deadline,
            _ => ErrorKind::Signing,
        }
    }

    /// True if the key or the TPM does not support the signature scheme.
    pub(super) fn is_unsupported_scheme(self) -> bool {
        self.is_of_tpm()
            && matches!(
                self.base(),
                rc::HASH | rc::SCHEME | rc::VALUE | rc::KEY_SIZE | rc::SIZE | rc::ATTRIBUTES
            )
    }

    /// True if a PCR was extended while a policy was checked, or between that check and the use of the key.
    pub(super) fn is_pcr_changed(self, command: &str) -> bool {
        self.is_of_tpm()
            && match self.base() {
                rc::PCR_CHANGED => true,
                rc::VALUE => command == "TPM2_PolicyPCR",
                _ => false,
            }
    }

    /// Returns true for a wrong authorization value of an object that the protection against dictionary attacks covers.
    pub(super) fn is_auth_fail(self) -> bool {
        self.is_of_tpm() && self.base() == rc::AUTH_FAIL
    }

    /// True if the TPM has no space for another persistent object.
    pub(super) fn is_out_of_space(self) -> bool {
        self.is_of_tpm() && self.base() == rc::NV_SPACE
    }

    /// The problem of an NV index, for the code of a command on one.
    pub(super) fn nv_problem(self) -> Option<NvProblem> {
        match self.base() {
            _ if !self.is_of_tpm() => None,
            rc::NV_SPACE => Some(NvProblem::NoSpace),
            rc::NV_LOCKED => Some(NvProblem::Locked),
            rc::NV_UNINITIALIZED => Some(NvProblem::Blank),
            rc::NV_AUTHORIZATION | rc::ATTRIBUTES => Some(NvProblem::Attributes),
            rc::NV_SIZE => Some(NvProblem::TooLarge),
            _ => None,
        }
    }

    fn layer(self) -> u32 {
        (self.0 >> 16) & 0xff
    }

    fn is_of_tpm(self) -> bool {
        matches!(
            self.layer(),
            layer::TPM | layer::RESOURCE_MANAGER | layer::RESOURCE_MANAGER_TPM
        )
    }

    /// The code without the number of the handle, parameter or session, which codes of format one contain.
    fn base(self) -> u32 {
        if self.0 & FORMAT_ONE != 0 {
            FORMAT_ONE | (self.0 & 0x3f)
        } else {
            self.0 & 0xfff
        }
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({:#x})", self.0),
            None => write!(f, "response code {:#x}", self.0),
        }
    }
}

/// Defines a constant and a name for each code of the TPM.
macro_rules! response_codes {
    ($($name:ident = $value:literal,)*) => {
        mod rc {
            $(pub(super) const $name: u32 = $value;)*
        }

        const NAMES: &[(u32, &str)] = &[$((rc::$name, concat!("TPM_RC_", stringify!($name))),)*];
    };
}

response_codes! {
    INITIALIZE = 0x100,
    FAILURE = 0x101,
    SEQUENCE = 0x103,
    DISABLED = 0x120,
    EXCLUSIVE = 0x121,
    AUTH_TYPE = 0x124,
    AUTH_MISSING = 0x125,
    POLICY = 0x126,
    PCR = 0x127,
    PCR_CHANGED = 0x128,
    UPGRADE = 0x12d,
    TOO_MANY_CONTEXTS = 0x12e,
    AUTH_UNAVAILABLE = 0x12f,
    REBOOT = 0x130,
    UNBALANCED = 0x131,
    COMMAND_SIZE = 0x142,
    COMMAND_CODE = 0x143,
    AUTHSIZE = 0x144,
    AUTH_CONTEXT = 0x145,
    NV_RANGE = 0x146,
    NV_SIZE = 0x147,
    NV_LOCKED = 0x148,
    NV_AUTHORIZATION = 0x149,
    NV_UNINITIALIZED = 0x14a,
    NV_SPACE = 0x14b,
    NV_DEFINED = 0x14c,
    BAD_CONTEXT = 0x150,
    CPHASH = 0x151,
    PARENT = 0x152,
    NEEDS_TEST = 0x153,
    NO_RESULT = 0x154,
    SENSITIVE = 0x155,
    ASYMMETRIC = 0x081,
    ATTRIBUTES = 0x082,
    HASH = 0x083,
    VALUE = 0x084,
    HIERARCHY = 0x085,
    KEY_SIZE = 0x087,
    MGF = 0x088,
    MODE = 0x089,
    TYPE = 0x08a,
    HANDLE = 0x08b,
    KDF = 0x08c,
    RANGE = 0x08d,
    AUTH_FAIL = 0x08e,
    NONCE = 0x08f,
    PP = 0x090,
    SCHEME = 0x092,
    SIZE = 0x095,
    SYMMETRIC = 0x096,
    TAG = 0x097,
    SELECTOR = 0x098,
    INSUFFICIENT = 0x09a,
    SIGNATURE = 0x09b,
    KEY = 0x09c,
    POLICY_FAIL = 0x09d,
    INTEGRITY = 0x09f,
    TICKET = 0x0a0,
    RESERVED_BITS = 0x0a1,
    BAD_AUTH = 0x0a2,
    EXPIRED = 0x0a3,
    POLICY_CC = 0x0a4,
    BINDING = 0x0a5,
    CURVE = 0x0a6,
    ECC_POINT = 0x0a7,
    CONTEXT_GAP = 0x901,
    OBJECT_MEMORY = 0x902,
    SESSION_MEMORY = 0x903,
    MEMORY = 0x904,
    SESSION_HANDLES = 0x905,
    OBJECT_HANDLES = 0x906,
    LOCALITY = 0x907,
    YIELDED = 0x908,
    CANCELED = 0x909,
    TESTING = 0x90a,
    REFERENCE_H0 = 0x910,
    REFERENCE_H1 = 0x911,
    REFERENCE_S0 = 0x918,
    NV_RATE = 0x920,
    LOCKOUT = 0x921,
    RETRY = 0x922,
    NV_UNAVAILABLE = 0x923,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_names_of_the_specification() {
        for (code, text) in [
            (0x0000_01df, "TPM_RC_INTEGRITY (0x1df)"),
            (0x0000_009f, "TPM_RC_INTEGRITY (0x9f)"),
            (0x0000_09a2, "TPM_RC_BAD_AUTH (0x9a2)"),
            (0x0000_098e, "TPM_RC_AUTH_FAIL (0x98e)"),
            (0x0000_0921, "TPM_RC_LOCKOUT (0x921)"),
            (0x0000_0902, "TPM_RC_OBJECT_MEMORY (0x902)"),
            (0x0000_014b, "TPM_RC_NV_SPACE (0x14b)"),
            (0x0000_018b, "TPM_RC_HANDLE (0x18b)"),
            (0x0000_03c7, "TPM_RC_KEY_SIZE (0x3c7)"),
            // Reported by a resource manager.
            (0x000b_0143, "TPM_RC_COMMAND_CODE (0xb0143)"),
            (0x000a_000a, "TSS2_TCTI_RC_IO_ERROR (0xa000a)"),
            // The same number from the TSS itself has another meaning.
            (0x0007_01df, "response code 0x701df"),
            (0x0000_0444, "response code 0x444"),
        ] {
            assert_eq!(ResponseCode(code).to_string(), text);
        }
    }

    #[test]
    fn the_advice_fits_the_command_and_the_code() {
        let advice = |command, code| ResponseCode(code).advice(command);

        assert!(advice("TPM2_ActivateCredential", 0x1df).contains("not for this TPM"));
        assert!(advice("TPM2_Import", 0x2c4).contains("not for this TPM"));
        assert!(advice("TPM2_ActivateCredential", 0x101).contains("not for this TPM"));
        assert!(advice("TPM2_HMAC", 0x101).contains("restart the device"));
        assert!(!advice("TPM2_Sign", 0x2c4).contains("not for this TPM"));
        // The advice for a wrong authorization value does not depend on the command.
        assert!(advice("TPM2_ActivateCredential", 0x9a2).contains("authorization value"));
        assert!(advice("TPM2_CreatePrimary", 0x98e).contains("authorization value"));
        assert!(advice("TPM2_Load", 0x902).contains("resource manager"));
        assert!(advice("TPM2_EvictControl", 0x14b).contains("no space"));
        assert!(advice(CONNECTING, 0xa000a).contains("group tss"));
        assert!(advice("TPM2_Sign", 0xa000a).contains("connection to the TPM failed"));
        assert!(advice("TPM2_CreatePrimary", 0x1d5).contains("at most 32 bytes"));
        assert!(!advice("TPM2_Sign", 0x1d5).contains("32 bytes"));
        assert!(advice("TPM2_PolicyPCR", 0x1c4).contains("a PCR was extended"));
    }

    #[test]
    fn the_kind_determines_who_must_act() {
        let kind = |command, code| ResponseCode(code).kind(command);
        for code in [0x9a2, 0x14b] {
            assert_eq!(kind("TPM2_Sign", code), ErrorKind::InvalidConfiguration);
        }
        for code in [0x1df, 0x921, 0x902, 0x101, 0x70001] {
            assert_eq!(kind("TPM2_Sign", code), ErrorKind::Signing);
        }
        // The TPM works, and refuses the key in this state. Another attempt is refused as well.
        assert_eq!(kind("TPM2_Sign", 0x99d), ErrorKind::KeyPolicy);
        // A TPM that worked before is not a fault of the configuration.
        assert_eq!(kind(CONNECTING, 0xa000a), ErrorKind::InvalidConfiguration);
        assert_eq!(kind("TPM2_Sign", 0xa000a), ErrorKind::Signing);
        assert_eq!(kind("TPM2_Sign", 0xa0009), ErrorKind::Deadline);
        // The TPM is busy.
        for code in [0x922, 0x908, 0x90a, 0x909, 0x920, 0x923] {
            assert_eq!(kind("TPM2_Create", code), ErrorKind::Deadline);
            assert!(
                ResponseCode(code)
                    .advice("TPM2_Create")
                    .contains("try again")
            );
        }
        // Other software extended a PCR at the same time.
        for (command, code) in [("TPM2_PolicyPCR", 0x1c4), ("TPM2_Sign", 0x128)] {
            assert_eq!(kind(command, code), ErrorKind::Deadline);
        }
        // The policy of an endorsement key is not one of a measured state.
        assert_eq!(kind("TPM2_ActivateCredential", 0x99d), ErrorKind::Signing);
        // Another approval, or another authority, is required.
        for (command, code) in [
            ("TPM2_VerifySignature", 0x2db),
            ("TPM2_LoadExternal", 0x2e7),
        ] {
            assert_eq!(kind(command, code), ErrorKind::InvalidConfiguration);
        }
        assert_eq!(kind("TPM2_Sign", 0x2db), ErrorKind::Signing);
    }
}
