//! What a token answers when it refuses: the CKR name, and what to do.

use cryptoki::error::{Error as ModuleError, RvError};

use crate::error::{Error, ErrorKind};

/// A refusal of the module, whose code decides what comes next, or an error of ours.
#[derive(Debug)]
pub(super) enum Failure {
    Module(ModuleError),
    Ours(Error),
}

impl Failure {
    pub(super) fn code(&self) -> Option<RvError> {
        match self {
            Self::Module(ModuleError::Pkcs11(code, _)) => Some(*code),
            Self::Module(_) | Self::Ours(_) => None,
        }
    }

    /// Whether a new session may help: the token was out and is back, somebody logged out or closed our session, or the
    /// object has another handle now.
    pub(super) fn session_is_lost(&self) -> bool {
        matches!(
            self.code(),
            Some(
                RvError::DeviceRemoved
                    | RvError::KeyHandleInvalid
                    | RvError::ObjectHandleInvalid
                    | RvError::SessionClosed
                    | RvError::SessionHandleInvalid
                    | RvError::SlotIdInvalid
                    | RvError::TokenNotPresent
                    | RvError::UserNotLoggedIn
            )
        )
    }

    pub(super) fn pin_is_refused(&self) -> bool {
        matches!(
            self.code(),
            Some(
                RvError::PinExpired
                    | RvError::PinIncorrect
                    | RvError::PinInvalid
                    | RvError::PinLenRange
                    | RvError::PinLocked
            )
        )
    }

    /// The error, which says what was tried: `doing` goes on after "the PKCS#11 token cannot".
    pub(super) fn into_error(self, doing: &str) -> Error {
        match self {
            Self::Ours(error) => error,
            Self::Module(ModuleError::Pkcs11(code, function)) => {
                let name = name(code);
                Error::new(
                    kind(code),
                    match advice(code) {
                        "" => {
                            format!("the PKCS#11 token cannot {doing}: C_{function:?} says {name}")
                        }
                        advice => format!("the PKCS#11 token cannot {doing}: {advice} ({name})"),
                    },
                )
            }
            Self::Module(error) => Error::new(
                ErrorKind::Signing,
                format!("the PKCS#11 token cannot {doing}: {error}"),
            ),
        }
    }
}

impl From<ModuleError> for Failure {
    fn from(error: ModuleError) -> Self {
        Self::Module(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// The name of the standard: `PinIncorrect` is CKR_PIN_INCORRECT.
pub(super) fn name(code: RvError) -> String {
    match code {
        RvError::VendorDefined(code) | RvError::UnknownErrorCode(code) => {
            format!("CKR 0x{code:08x}")
        }
        _ => {
            let mut name = "CKR".to_owned();
            for letter in format!("{code:?}").chars() {
                if letter.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            name
        }
    }
}

fn kind(code: RvError) -> ErrorKind {
    match code {
        RvError::DeviceError
        | RvError::DeviceMemory
        | RvError::DeviceRemoved
        | RvError::FunctionFailed
        | RvError::GeneralError
        | RvError::HostMemory
        | RvError::TokenNotPresent
        | RvError::VendorDefined(_)
        | RvError::UnknownErrorCode(_) => ErrorKind::Signing,
        _ => ErrorKind::InvalidConfiguration,
    }
}

fn advice(code: RvError) -> &'static str {
    match code {
        RvError::PinIncorrect => {
            "the PIN is wrong, and not tried again, since a token locks after a few"
        }
        RvError::PinLocked => {
            "the PIN is locked after too many wrong ones, and the token's security officer must set a new one"
        }
        RvError::PinExpired => "the PIN has expired and must be changed",
        RvError::PinInvalid | RvError::PinLenRange => {
            "the PIN has a length or characters that the token never takes"
        }
        RvError::UserPinNotInitialized => "it has no user PIN yet, and must be set up first",
        RvError::UserAnotherAlreadyLoggedIn => "this process is logged in as its security officer",
        RvError::MechanismInvalid | RvError::FunctionNotSupported => {
            "it does not have the mechanism"
        }
        RvError::MechanismParamInvalid => "it does not take the mechanism's parameters",
        RvError::KeySizeRange => {
            "the key is too short or too long for it; HMAC-SHA256 wants 32 bytes of many tokens' keys"
        }
        RvError::KeyTypeInconsistent => "the key is of another type than the mechanism wants",
        RvError::KeyFunctionNotPermitted => "the key may not be used to sign (CKA_SIGN is false)",
        RvError::CurveNotSupported | RvError::DomainParamsInvalid => "it does not have the curve",
        RvError::TemplateIncomplete
        | RvError::TemplateInconsistent
        | RvError::AttributeReadOnly
        | RvError::AttributeTypeInvalid
        | RvError::AttributeValueInvalid => "it does not allow an object like this",
        RvError::SessionReadOnly | RvError::TokenWriteProtected => "it is write-protected",
        RvError::DeviceRemoved | RvError::TokenNotPresent => "it is not in its slot",
        RvError::DeviceMemory => "it is full",
        RvError::SessionCount => "all its sessions are taken",
        RvError::UserNotLoggedIn => "nobody is logged in",
        RvError::CryptokiNotInitialized => {
            "another part of this process has finalized the module, or the process has forked"
        }
        RvError::DeviceError | RvError::FunctionFailed | RvError::GeneralError => {
            "it failed; the log of its module may say more"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn codes_have_the_names_of_the_standard() {
        for (code, expected) in [
            (RvError::PinIncorrect, "CKR_PIN_INCORRECT"),
            (RvError::RandomNoRng, "CKR_RANDOM_NO_RNG"),
            (RvError::SessionHandleInvalid, "CKR_SESSION_HANDLE_INVALID"),
            (RvError::VendorDefined(0x8000_0001), "CKR 0x80000001"),
        ] {
            assert_eq!(name(code), expected);
        }
    }

    #[test]
    fn a_refusal_says_what_to_do_or_at_least_who_refused() {
        let error = |code| {
            Failure::Module(ModuleError::Pkcs11(code, Function::Sign))
                .into_error("sign")
                .to_string()
        };
        assert_eq!(
            error(RvError::MechanismInvalid),
            "the PKCS#11 token cannot sign: it does not have the mechanism (CKR_MECHANISM_INVALID)"
        );
        assert_eq!(
            error(RvError::MutexBad),
            "the PKCS#11 token cannot sign: C_Sign says CKR_MUTEX_BAD"
        );
    }
}
