//! The error of a TPM: the command, the response code with its name, and advice.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use dps_types::sas::SignError;
use tss_esapi::WrapperErrorKind;
use tss_esapi::constants::response_code::Tss2ResponseCode;

use super::nv_problem::NvProblem;
use super::policy::Pcr;
use super::response_code::ResponseCode;
use crate::error::{Error, ErrorKind};

/// An error of a TPM, or a reason why a TPM was not used.
///
/// It is the source of each [`SignError`] and [`Error`](crate::Error) that a TPM causes.
#[derive(Debug, Clone)]
pub struct TpmError {
    kind: ErrorKind,
    command: Option<&'static str>,
    code: Option<ResponseCode>,
    reason: Cow<'static, str>,
    nv: Option<NvProblem>,
    changed_pcrs: Vec<Pcr>,
}

impl TpmError {
    /// The response code as the TSS reports it. `None` if the error has none. Bits 16 to 23 name the layer that reported it: 0 is the
    /// TPM itself.
    ///
    /// Source: TCG, *TPM Library*, part 2 chapter 6.6.
    pub fn response_code(&self) -> Option<u32> {
        self.code.map(|code| code.0)
    }

    /// The reason why an NV index cannot be used. `None` for every other error.
    pub fn nv_problem(&self) -> Option<NvProblem> {
        let is_nv = self
            .command
            .is_some_and(|command| command.starts_with("TPM2_NV_"));
        self.nv
            .or_else(|| self.code.filter(|_| is_nv)?.nv_problem())
    }

    /// The PCRs whose values the policy of a key does not allow. Empty for every other error.
    pub fn changed_pcrs(&self) -> &[Pcr] {
        &self.changed_pcrs
    }

    /// An NV index that cannot be used.
    pub(super) fn nv(problem: NvProblem, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            nv: Some(problem),
            ..Self::configuration(reason)
        }
    }

    pub(super) fn new(command: &'static str, error: tss_esapi::Error) -> Self {
        let (kind, code, reason) = match error {
            tss_esapi::Error::Tss2Error(code) => match number(code) {
                Some(code) => (code.kind(command), Some(code), code.advice(command).into()),
                None => (ErrorKind::Signing, None, code.to_string().into()),
            },
            // The service sent a part that is longer than TPMs allow.
            tss_esapi::Error::WrapperError(WrapperErrorKind::WrongParamSize) => (
                ErrorKind::Signing,
                None,
                "a part of the data is too long".into(),
            ),
            tss_esapi::Error::WrapperError(error) => {
                (ErrorKind::Signing, None, error.to_string().into())
            }
        };
        Self {
            kind,
            command: Some(command),
            code,
            reason,
            nv: None,
            changed_pcrs: Vec::new(),
        }
    }

    /// An error in the configuration.
    pub(super) fn configuration(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::without_code(ErrorKind::InvalidConfiguration, reason)
    }

    /// Invalid input to the TPM, or unexpected output from it.
    pub(super) fn refused(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::without_code(ErrorKind::Signing, reason)
    }

    /// A key was not used, because PCRs have other values than its policy requires.
    pub(super) fn changed(changes: Vec<(Pcr, String)>) -> Self {
        let (changed_pcrs, texts): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        let reason = format!(
            "the device is not in the measured state of the key's policy: {}; start the software that the policy allows, or approve \
             the new state",
            texts.join("; ")
        );
        Self {
            changed_pcrs,
            ..Self::without_code(ErrorKind::KeyPolicy, reason)
        }
    }

    /// The same failure of a TPM that was reached before with these options: it was stopped, or another program uses it.
    pub(super) fn after_success(self) -> Self {
        match self.kind {
            ErrorKind::InvalidConfiguration => Self {
                kind: ErrorKind::Signing,
                ..self
            },
            _ => self,
        }
    }

    /// The TPM is not ready, and may be later.
    pub(super) fn busy(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::without_code(ErrorKind::Deadline, reason)
    }

    pub(super) fn timed_out(timeout: Duration) -> Self {
        Self::busy(format!(
            "the TPM did not answer within {timeout:?}: the creation of a key may require more time (TpmOptions::with_timeout), or \
             another program uses the TPM"
        ))
    }

    /// The TPM was not used, because too many uses of it have not returned.
    pub(super) fn too_many(limit: usize) -> Self {
        Self::busy(format!(
            "{limit} signatures with the TPM have not returned: check the TPM and its driver; if it does not answer again, restart the \
             program"
        ))
    }

    /// Returns true if the key or the TPM does not support a signature scheme. The same codes of the commands before the signature have
    /// other causes.
    pub(super) fn is_unsupported_scheme(&self) -> bool {
        self.command == Some("TPM2_Sign")
            && self.code.is_some_and(ResponseCode::is_unsupported_scheme)
    }

    /// Returns true if the TPM has counted a wrong authorization value of a key, and is locked after some more of them.
    pub(crate) fn is_wrong_value(&self) -> bool {
        self.command == Some("TPM2_Sign") && self.code.is_some_and(ResponseCode::is_auth_fail)
    }

    /// Returns true if a PCR was extended while a policy was checked, or between that check and the use of the key.
    pub(super) fn is_pcr_changed(&self) -> bool {
        let command = self.command.unwrap_or_default();
        self.code.is_some_and(|code| code.is_pcr_changed(command))
    }

    /// Returns true if the TPM has no space for another persistent object.
    pub(super) fn is_out_of_space(&self) -> bool {
        self.code.is_some_and(ResponseCode::is_out_of_space)
    }

    pub(super) fn sign_error(self, what: &'static str) -> SignError {
        let failure = SignError::new(what);
        match self.kind {
            // Other modules read the kind.
            ErrorKind::KeyPolicy => {
                failure.with_source(self.into_error("the policy of the key does not allow its use"))
            }
            _ => failure.with_source(self),
        }
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
            nv: None,
            changed_pcrs: Vec::new(),
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

/// Reads the number from the text of the error, because tss-esapi has no accessor for it.
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
    use crate::error::signing_kind;

    fn error(command: &'static str, code: u32) -> TpmError {
        TpmError::new(command, tss_esapi::Error::Tss2Error(code.into()))
    }

    #[test]
    fn the_text_has_the_command_the_code_and_advice() {
        let error = error("TPM2_ActivateCredential", 0x1df);
        assert_eq!(error.response_code(), Some(0x1df));
        assert!(
            error.to_string().starts_with(
                "TPM2_ActivateCredential: TPM_RC_INTEGRITY (0x1df): the key from the service is not for this TPM"
            ),
            "{error}"
        );
        assert_eq!(error.into_error("").kind(), ErrorKind::Signing);
    }

    #[test]
    fn only_a_signature_reports_an_unsupported_scheme() {
        assert!(error("TPM2_Sign", 0x2d2).is_unsupported_scheme());
        for command in ["TPM2_PolicyPCR", "TPM2_StartAuthSession"] {
            assert!(!error(command, 0x1c4).is_unsupported_scheme());
        }
    }

    #[test]
    fn a_policy_that_does_not_allow_the_state_has_its_own_kind() {
        let pcr = Pcr {
            bank: super::super::policy::PcrBank::Sha256,
            index: 7,
        };
        let changed = || TpmError::changed(vec![(pcr, "PCR 7 changed".to_owned())]);
        let error = changed().into_error("the key pair cannot be used");
        assert_eq!(error.kind(), ErrorKind::KeyPolicy);
        assert!(!error.is_retryable());
        // Each place that signs: a request, a token, a handshake.
        let error = Error::new(signing_kind(&changed().sign_error("")), "");
        assert_eq!(error.kind(), ErrorKind::KeyPolicy);
        // As with a PKCS#11 token: a use that is late can be tried again, and a connection without a signature has failed.
        let busy = || TpmError::timed_out(Duration::ZERO);
        assert!(busy().into_error("").is_retryable());
        let busy = busy().sign_error("");
        assert_eq!(signing_kind(&busy), ErrorKind::Signing);
    }

    #[test]
    fn the_code_is_read_from_every_format() {
        for code in [0x9a2, 0x921, 0x14b, 0xa000a, 0xb0143, 0x7_0001] {
            assert_eq!(error("TPM2_Load", code).response_code(), Some(code));
        }
    }
}
