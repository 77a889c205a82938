//! The address of a TPM: the TCTI (TPM command transmission interface).

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tss_esapi::TctiNameConf;

use super::error::TpmError;
use crate::error::Error;

/// The environment variables of tpm2-tools, in their order.
const VARIABLES: [&str; 3] = ["TPM2TOOLS_TCTI", "TCTI", "TEST_TCTI"];
const RESOURCE_MANAGER: &str = "/dev/tpmrm0";

/// The address of a TPM. The default is [`resource_manager`](Self::resource_manager).
///
/// Each kind is a library of the TSS that is loaded at run time: the Debian packages `libtss2-tcti-device0` and so on.
#[derive(Clone, PartialEq, Eq)]
pub struct Tcti {
    text: String,
    name: TctiNameConf,
    /// The device file, for a better error if it cannot be opened.
    device: Option<PathBuf>,
}

impl Tcti {
    /// The kernel's resource manager, `/dev/tpmrm0`, with which programs share the TPM. It removes the objects that they
    /// leave.
    ///
    /// The user must be in the group `tss`.
    #[expect(clippy::expect_used, reason = "the path is a constant in UTF-8")]
    pub fn resource_manager() -> Self {
        Self::device(RESOURCE_MANAGER).expect("a path in UTF-8")
    }

    /// A device file: `/dev/tpmrm1` for a second TPM, or `/dev/tpm0` if no other program uses the TPM.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the path is not UTF-8.
    pub fn device(path: impl AsRef<Path>) -> Result<Self, Error> {
        match path.as_ref().to_str() {
            Some(path) => format!("device:{path}").parse(),
            None => Err(Error::configuration("the path of the TPM is not UTF-8")),
        }
    }

    /// A software TPM (swtpm) over TCP. Its control port must be the next one.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if `host` is not a valid name or address.
    pub fn swtpm(host: &str, port: u16) -> Result<Self, Error> {
        format!("swtpm:host={host},port={port}").parse()
    }

    /// Reads the environment variables of tpm2-tools: the first of `TPM2TOOLS_TCTI`, `TCTI` and `TEST_TCTI` that is set. `None` if
    /// none is set.
    ///
    /// # Errors
    /// See [`from_str`](Self::from_str).
    pub fn from_env() -> Result<Option<Self>, Error> {
        Self::from_variables(env::var_os)
    }

    pub(super) fn name(&self) -> TctiNameConf {
        self.name.clone()
    }

    /// The reason why the device file cannot be opened. `None` if it can, or if the TCTI is not a device file.
    pub(super) fn device_error(&self) -> Option<TpmError> {
        let path = self.device.as_ref()?;
        let error = OpenOptions::new().read(true).write(true).open(path).err()?;
        Some(cannot_be_opened(path, &error))
    }

    fn from_variables(
        get: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Option<Self>, Error> {
        let Some((name, value)) = VARIABLES.iter().find_map(|name| Some((name, get(name)?))) else {
            return Ok(None);
        };
        match value.to_str() {
            Some(text) => text.parse().map(Some),
            None => Err(Error::configuration(format!("{name} is not UTF-8"))),
        }
    }
}

impl Default for Tcti {
    fn default() -> Self {
        Self::resource_manager()
    }
}

/// Parses the syntax of tpm2-tools: `device:/dev/tpm0`, `swtpm:host=127.0.0.1,port=2321`, `mssim:...`, `tabrmd:...`.
impl FromStr for Tcti {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let name = text.parse().map_err(|_| {
            Error::configuration(format!(
                "{text:?} is not a valid TCTI: use device:PATH, swtpm:host=HOST,port=PORT, mssim:host=HOST,port=PORT or \
                 tabrmd:bus_type=TYPE"
            ))
        })?;
        let device = text.strip_prefix("device:").map(PathBuf::from);
        Ok(Self {
            text: text.to_owned(),
            name,
            device,
        })
    }
}

impl fmt::Display for Tcti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Tcti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tcti({:?})", self.text)
    }
}

fn cannot_be_opened(path: &Path, error: &io::Error) -> TpmError {
    let what = format!("{} cannot be opened: {error}", path.display());
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::IsADirectory => {
            TpmError::configuration(what)
        }
        ErrorKind::ResourceBusy => TpmError::busy(format!(
            "{what}: another program uses the TPM; try again, or use the resource manager {RESOURCE_MANAGER}"
        )),
        _ => TpmError::refused(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_syntax_of_tpm2_tools_is_parsed() {
        for text in [
            "device:/dev/tpm0",
            "swtpm:host=127.0.0.1,port=2321",
            "mssim:host=localhost,port=2321",
            "tabrmd:bus_type=session",
            "swtpm",
        ] {
            assert_eq!(text.parse::<Tcti>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "/dev/tpm0",
            "swtpm:port=many",
            "swtpm:host=not a host",
            "pkcs11:x",
        ] {
            let error = text.parse::<Tcti>().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
        }
        assert_eq!(Tcti::default().to_string(), "device:/dev/tpmrm0");
        assert_eq!(
            Tcti::swtpm("127.0.0.1", 2321).unwrap().to_string(),
            "swtpm:host=127.0.0.1,port=2321"
        );
    }

    #[test]
    fn the_first_variable_that_is_set_is_used() {
        let environment = |name: &str| match name {
            "TCTI" => Some("device:/dev/tpm1".into()),
            "TEST_TCTI" => Some("swtpm".into()),
            _ => None,
        };
        let tcti = Tcti::from_variables(environment).unwrap().unwrap();
        assert_eq!(tcti.to_string(), "device:/dev/tpm1");
        assert_eq!(Tcti::from_variables(|_| None).unwrap(), None);
        Tcti::from_variables(|_| Some("nothing".into())).unwrap_err();
    }

    #[test]
    fn a_missing_device_file_is_named() {
        let error = |path: &Path| Tcti::device(path).unwrap().device_error().unwrap();
        let missing = error(Path::new("/dev/no-such-tpm"));
        let text = missing.to_string();
        assert!(
            text.starts_with("/dev/no-such-tpm cannot be opened: "),
            "{text}"
        );
        let kind = |error: TpmError| error.into_error("").kind();
        assert_eq!(kind(missing), crate::ErrorKind::InvalidConfiguration);
        let directory = error(&env::temp_dir());
        assert_eq!(kind(directory), crate::ErrorKind::InvalidConfiguration);
        let network = "swtpm".parse::<Tcti>().unwrap();
        assert!(network.device_error().is_none());
    }

    #[test]
    fn a_device_file_that_is_in_use_is_not_a_fault_of_the_configuration() {
        let kind = |error: ErrorKind| {
            let error = cannot_be_opened(Path::new("/dev/tpm0"), &error.into());
            error.into_error("").kind()
        };
        assert_eq!(kind(ErrorKind::ResourceBusy), crate::ErrorKind::Deadline);
        assert_eq!(kind(ErrorKind::Other), crate::ErrorKind::Signing);
        assert_eq!(
            kind(ErrorKind::PermissionDenied),
            crate::ErrorKind::InvalidConfiguration
        );
    }
}
