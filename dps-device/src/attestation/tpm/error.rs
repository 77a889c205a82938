//! What the TPM said: the command, the response code and its name, and what to do.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use dps_types::sas::SignError;
use tss_esapi::WrapperErrorKind;
use tss_esapi::constants::response_code::Tss2ResponseCode;

use super::response_code::ResponseCode;
use crate::error::{Error, ErrorKind};

/// What a TPM answered, or why it was not asked.
///
/// It is the source of a [`SignError`] and of an [`Error`](crate::Error) that come from a TPM.
#[derive(Debug, Clone)]
pub struct TpmError {
    kind: ErrorKind,
    command: Option<&'static str>,
    code: Option<ResponseCode>,
    reason: Cow<'static, str>,
}

impl TpmError {
    /// The response code as the TSS gives it, when there is one: bits 16 to 23 say who gave it, 0 is the TPM.
    ///
    /// Source: TCG, *TPM Library*, part 2 chapter 6.6.
    pub fn response_code(&self) -> Option<u32> {
        self.code.map(|code| code.0)
    }

    pub(super) fn new(command: &'static str, error: tss_esapi::Error) -> Self {
        let (kind, code, reason) = match error {
            tss_esapi::Error::Tss2Error(code) => match number(code) {
                Some(code) => (code.kind(), Some(code), code.advice(command).into()),
                None => (ErrorKind::Signing, None, code.to_string().into()),
            },
            // The service sent more than a TPM takes.
            tss_esapi::Error::WrapperError(WrapperErrorKind::WrongParamSize) => {
                (ErrorKind::Signing, None, "a part of it is too long".into())
            }
            tss_esapi::Error::WrapperError(error) => {
                (ErrorKind::Signing, None, error.to_string().into())
            }
        };
        Self {
            kind,
            command: Some(command),
            code,
            reason,
        }
    }

    /// Something that is wrong with the set-up.
    pub(super) fn configuration(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::without_code(ErrorKind::InvalidConfiguration, reason)
    }

    /// Something that is wrong with what the TPM was given or gave.
    pub(super) fn refused(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::without_code(ErrorKind::Signing, reason)
    }

    pub(super) fn late(limit: Duration) -> Self {
        Self::refused(format!("the TPM has not answered within {limit:?}"))
    }

    pub(super) fn is_lack_of_scheme(&self) -> bool {
        self.code.is_some_and(ResponseCode::is_lack_of_scheme)
    }

    pub(super) fn sign_error(self, what: &'static str) -> SignError {
        SignError::new(what).with_source(self)
    }

    pub(super) fn into_error(self, what: &'static str) -> Error {
        Error::new(self.kind, what).with_source(self)
    }

    fn without_code(kind: ErrorKind, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            command: None,
            code: None,
            reason: reason.into(),
        }
    }
}

impl fmt::Display for TpmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(command) = self.command {
            write!(f, "{command}: ")?;
        }
        if let Some(code) = self.code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.reason)
    }
}

impl std::error::Error for TpmError {}

/// tss-esapi keeps the number to itself and shows it in hexadecimal only.
fn number(code: Tss2ResponseCode) -> Option<ResponseCode> {
    let text = match code {
        Tss2ResponseCode::Success => return None,
        Tss2ResponseCode::FormatZero(code) => code.to_string(),
        Tss2ResponseCode::FormatOne(code) => code.to_string(),
    };
    let (_, digits) = text.split_once("0x")?;
    u32::from_str_radix(digits, 16).ok().map(ResponseCode)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(command: &'static str, code: u32) -> TpmError {
        TpmError::new(command, tss_esapi::Error::Tss2Error(code.into()))
    }

    #[test]
    fn it_names_the_command_the_code_and_what_to_do() {
        let error = error("TPM2_ActivateCredential", 0x1df);
        assert_eq!(error.response_code(), Some(0x1df));
        assert!(
            error.to_string().starts_with(
                "TPM2_ActivateCredential: TPM_RC_INTEGRITY (0x1df): the key that the service sent is not for this TPM"
            ),
            "{error}"
        );
        assert_eq!(error.into_error("").kind(), ErrorKind::Signing);
    }

    #[test]
    fn the_number_survives_every_format() {
        for code in [0x9a2, 0x921, 0x14b, 0xa000a, 0xb0143, 0x7_0001] {
            assert_eq!(error("TPM2_Load", code).response_code(), Some(code));
        }
    }
}
