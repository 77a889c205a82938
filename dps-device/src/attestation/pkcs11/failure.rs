//! The errors of a module: the CKR name, and advice.

use cryptoki::error::{Error as ModuleError, RvError};

use crate::error::{Error, ErrorKind};

/// An error of the module, whose code decides what happens next, or an error of this crate.
#[derive(Debug)]
pub(super) enum Failure {
    Module(ModuleError),
    Ours(Error),
    /// The module has no token that matches the URI.
    NoToken(Error),
    /// The token was read, and has no certificate of the key that can be used.
    NoCertificate(Error),
}

impl Failure {
    pub(super) fn code(&self) -> Option<RvError> {
        match self {
            Self::Module(ModuleError::Pkcs11(code, _)) => Some(*code),
            Self::Module(_) | Self::Ours(_) | Self::NoToken(_) | Self::NoCertificate(_) => None,
        }
    }

    /// True if a new session may help: the token was removed and inserted again, other code in the process has logged out or closed
    /// the session, or the object has a new handle.
    pub(super) fn session_is_lost(&self) -> bool {
        matches!(
            self.code(),
            Some(
                RvError::DeviceRemoved
                    | RvError::KeyHandleInvalid
                    | RvError::ObjectHandleInvalid
                    | RvError::OperationActive
                    | RvError::SessionClosed
                    | RvError::SessionHandleInvalid
                    | RvError::SlotIdInvalid
                    | RvError::TokenNotPresent
                    | RvError::UserNotLoggedIn
            )
        )
    }

    /// True if the failure concerns one object only: a search skips the object and continues.
    pub(super) fn is_of_the_object(&self) -> bool {
        !self.session_is_lost() && !self.module_is_finalized() && !self.session_is_doubtful()
    }

    /// True if other code in the process has finalized the module, which ends all sessions.
    pub(super) fn module_is_finalized(&self) -> bool {
        self.code() == Some(RvError::CryptokiNotInitialized)
    }

    /// True if the token or the way to it has failed, so that the session may not work again.
    pub(super) fn session_is_doubtful(&self) -> bool {
        matches!(
            self.code(),
            Some(RvError::DeviceError | RvError::FunctionFailed | RvError::GeneralError)
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

    /// The error for the caller. `doing` completes the sentence "the PKCS#11 token cannot ...".
    pub(super) fn into_error(self, doing: &str) -> Error {
        match self {
            Self::Ours(error) | Self::NoToken(error) | Self::NoCertificate(error) => error,
            Self::Module(ModuleError::Pkcs11(code, function)) => {
                let name = name(code);
                Error::new(
                    kind(code),
                    match advice(code) {
                        "" => {
                            format!(
                                "the PKCS#11 token cannot {doing}: C_{function:?} returned {name}"
                            )
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

/// The name in the standard: `PinIncorrect` is CKR_PIN_INCORRECT.
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

/// A failure of the token, of its module or of a session may end without a change by the user.
fn kind(code: RvError) -> ErrorKind {
    match code {
        RvError::CryptokiNotInitialized
        | RvError::DeviceError
        | RvError::DeviceMemory
        | RvError::DeviceRemoved
        | RvError::FunctionCanceled
        | RvError::FunctionFailed
        | RvError::GeneralError
        | RvError::HostMemory
        | RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid
        | RvError::OperationActive
        | RvError::OperationNotInitialized
        | RvError::SessionClosed
        | RvError::SessionCount
        | RvError::SessionHandleInvalid
        | RvError::SlotIdInvalid
        | RvError::TokenNotPresent
        | RvError::UserNotLoggedIn
        | RvError::VendorDefined(_)
        | RvError::UnknownErrorCode(_) => ErrorKind::Signing,
        _ => ErrorKind::InvalidConfiguration,
    }
}

fn advice(code: RvError) -> &'static str {
    match code {
        RvError::PinIncorrect => {
            "the PIN is wrong; it is not tried again, because tokens lock after a few wrong attempts"
        }
        RvError::PinLocked => {
            "the PIN is locked after too many wrong attempts: the token's security officer must set a new one"
        }
        RvError::PinExpired => "the PIN has expired: change it",
        RvError::PinInvalid | RvError::PinLenRange => {
            "the PIN has a length or characters that the token does not allow"
        }
        RvError::UserPinNotInitialized => "it has no user PIN yet: set one first",
        RvError::UserAnotherAlreadyLoggedIn => "this process is logged in as its security officer",
        RvError::MechanismInvalid | RvError::FunctionNotSupported => {
            "it does not support the mechanism"
        }
        RvError::MechanismParamInvalid => "it does not support the mechanism's parameters",
        RvError::KeySizeRange => {
            "the length of the key is not supported; many tokens require 32 bytes or more for HMAC-SHA256"
        }
        RvError::KeyTypeInconsistent => "the mechanism requires a key of another type",
        RvError::KeyFunctionNotPermitted => "the key may not be used to sign (CKA_SIGN is false)",
        RvError::CurveNotSupported | RvError::DomainParamsInvalid => {
            "it does not support the curve"
        }
        RvError::TemplateIncomplete
        | RvError::TemplateInconsistent
        | RvError::AttributeReadOnly
        | RvError::AttributeTypeInvalid
        | RvError::AttributeValueInvalid => "it does not allow an object with these attributes",
        RvError::SessionReadOnly | RvError::TokenWriteProtected => "it is write-protected",
        RvError::DeviceRemoved | RvError::TokenNotPresent => "the token is not in its slot",
        RvError::DeviceMemory => "it is full",
        RvError::SessionCount => "all its sessions are in use",
        RvError::UserNotLoggedIn => "the session is not logged in",
        RvError::CryptokiNotInitialized => {
            "other code in this process has finalized the module, or the process was forked"
        }
        RvError::DeviceError | RvError::FunctionFailed | RvError::GeneralError => {
            "it failed; see the log of its module"
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
    fn a_failure_of_the_session_is_not_a_fault_of_the_configuration() {
        let kind = |code| {
            let error = ModuleError::Pkcs11(code, Function::FindObjectsInit);
            Failure::Module(error).into_error("sign").kind()
        };
        for code in [
            RvError::SessionClosed,
            RvError::SessionHandleInvalid,
            RvError::SessionCount,
            RvError::UserNotLoggedIn,
            RvError::OperationActive,
            RvError::CryptokiNotInitialized,
        ] {
            assert_eq!(kind(code), ErrorKind::Signing, "{code:?}");
        }
        for code in [RvError::PinIncorrect, RvError::MechanismInvalid] {
            assert_eq!(kind(code), ErrorKind::InvalidConfiguration, "{code:?}");
        }
    }

    #[test]
    fn an_error_has_advice_or_the_name_of_the_function() {
        let error = |code| {
            Failure::Module(ModuleError::Pkcs11(code, Function::Sign))
                .into_error("sign")
                .to_string()
        };
        assert_eq!(
            error(RvError::MechanismInvalid),
            "the PKCS#11 token cannot sign: it does not support the mechanism (CKR_MECHANISM_INVALID)"
        );
        assert_eq!(
            error(RvError::MutexBad),
            "the PKCS#11 token cannot sign: C_Sign returned CKR_MUTEX_BAD"
        );
    }
}
