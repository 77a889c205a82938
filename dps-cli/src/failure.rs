//! The error of a command: what happened, its causes, what to do, and the exit code.

use std::error::Error as StdError;
use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use crate::document::add;
use crate::format::Format;

/// The exit codes of the program. They are part of its interface: README.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Any other failure.
    Failure = 1,
    /// The command line, a file or a value is not valid. Nothing was sent.
    Usage = 2,
    /// The enrollment, registration or id scope does not exist.
    NotFound = 3,
    /// The credentials were refused, or do not have the permission.
    Refused = 4,
    /// The enrollment exists already, or has changed, or another program has replaced the key or the files of a certificate.
    Conflict = 5,
    /// The network or the service failed, or the service asks to wait: the same command may succeed later.
    Unavailable = 6,
    /// Some items succeeded, and others failed, such as the removal of the earlier key.
    Partial = 7,
    /// The certificate does not need to be renewed yet.
    NotDue = 8,
}

/// An error of a command.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    retry_after: Option<Duration>,
    certificates: Option<String>,
}

pub(crate) type Result<T = (), E = Failure> = std::result::Result<T, E>;

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            retry_after: None,
            certificates: None,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds the error and its sources as causes.
    pub(crate) fn because(mut self, error: &(dyn StdError + 'static)) -> Self {
        self.causes.push(error.to_string());
        self.with_sources(error)
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds certificates in PEM, which would be lost with the program.
    pub(crate) fn with_certificates(mut self, pem: String) -> Self {
        self.certificates = Some(pem);
        self
    }

    /// Puts the subject of the failure before its message, such as the name of a file.
    pub(crate) fn about(mut self, subject: impl fmt::Display) -> Self {
        self.message = format!("{subject}: {}", self.message);
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The wait that the service asks for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }

    /// Prints the failure on stderr: as text, or as one line of JSON when the output is JSON.
    pub(crate) fn print(&self, format: Format) {
        if format == Format::Table {
            anstream::eprintln!("\u{1b}[1;31merror:\u{1b}[0m {}", self.message);
            for cause in &self.causes {
                anstream::eprintln!("  because: {cause}");
            }
            if let Some(hint) = &self.hint {
                anstream::eprintln!("\u{1b}[1;32mhint:\u{1b}[0m {hint}");
            }
            if let Some(certificates) = &self.certificates {
                anstream::eprint!("{certificates}");
            }
        } else {
            let mut error = json!({
                "error": self.message, "causes": self.causes, "hint": self.hint, "exitCode": self.exit as u8,
            });
            if let Some(certificates) = &self.certificates {
                add(&mut error, "certificates", certificates.as_str());
            }
            eprintln!("{error}");
        }
    }

    fn with_sources(mut self, error: &(dyn StdError + 'static)) -> Self {
        let mut source = error.source();
        while let Some(cause) = source {
            self.causes.push(cause.to_string());
            source = cause.source();
        }
        self
    }
}

impl fmt::Display for Failure {
    /// The message and its causes in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes
            .iter()
            .try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl From<dps_service::Error> for Failure {
    fn from(error: dps_service::Error) -> Self {
        use dps_service::ErrorKind;
        let exit = match error.kind() {
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::NoToken if is_unavailable(&error) => Exit::Unavailable,
            ErrorKind::Endorsement
            | ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::NoToken => Exit::Refused,
            ErrorKind::Conflict | ErrorKind::PreconditionFailed => Exit::Conflict,
            ErrorKind::Invalid | ErrorKind::InvalidConfiguration | ErrorKind::Change => Exit::Usage,
            _ if error.is_retryable() => Exit::Unavailable,
            _ => Exit::Failure,
        };
        Self::new(exit, error.to_string()).with_sources(&error)
    }
}

/// Whether the token endpoint of Microsoft Entra ID cannot be reached, fails, or asks to wait.
fn is_unavailable(error: &dps_service::Error) -> bool {
    let sources = std::iter::successors(error.source(), |&source| source.source());
    let mut requests = sources.filter_map(|source| source.downcast_ref::<reqwest::Error>());
    requests.any(|error| error.is_connect() || error.is_timeout() || error.is_status())
}

impl From<dps_device::Error> for Failure {
    fn from(error: dps_device::Error) -> Self {
        use dps_device::ErrorKind;
        let exit = match error.kind() {
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Unauthorized | ErrorKind::Disabled => Exit::Refused,
            ErrorKind::InvalidConfiguration | ErrorKind::KeyPolicy | ErrorKind::Unsupported => {
                Exit::Usage
            }
            _ if error.is_retryable() => Exit::Unavailable,
            _ => Exit::Failure,
        };
        let mut failure = Self::new(exit, error.to_string()).with_sources(&error);
        failure.retry_after = error.retry_after();
        match exit {
            Exit::Refused | Exit::Failure | Exit::Unavailable | Exit::NotFound => {
                failure.with_hint("`dps doctor` with the same options checks the network, the credentials and the clock")
            }
            _ => failure,
        }
    }
}

impl From<dps_types::ParseError> for Failure {
    fn from(error: dps_types::ParseError) -> Self {
        Self::usage(error.to_string()).with_sources(&error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failure, error.to_string()).with_sources(&error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::usage(format!("the JSON is not valid: {error}"))
    }
}
