//! Trusted roots: those of the platform's store, certificates from PEM or DER, or both.

use std::fmt;
use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls_native_certs::CertificateResult;
use rustls_pki_types::CertificateDer;

use crate::error::{Error, ErrorKind};
use crate::identity::{check_certificates, read_chain};

/// The roots that the certificate of a server must chain to.
///
/// They are used only by the configuration made from them: nothing is installed into a system store.
/// The default is [`Roots::system`].
#[derive(Clone)]
pub struct Roots {
    system: bool,
    given: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// The roots the platform trusts, read each time a configuration is built.
    ///
    /// The environment variables `SSL_CERT_FILE` and `SSL_CERT_DIR` override the location.
    pub fn system() -> Self {
        Self {
            system: true,
            given: Vec::new(),
        }
    }

    /// Only the certificates in this PEM, in any form that [`read_certificates`](crate::read_certificates) reads.
    ///
    /// Each is trusted without a check that it is a CA or within its validity.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoCertificate`] and [`ErrorKind::MalformedCertificate`]; one bad certificate refuses the whole input.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, Error> {
        read_chain(pem.as_ref()).map(Self::given)
    }

    /// [`Roots::from_pem`] of a file, read now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Read`], and those of [`Roots::from_pem`].
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        fs::read(path)
            .map_err(|error| {
                Error::new(ErrorKind::Read, "the file could not be read").with_source(error)
            })
            .and_then(Self::from_pem)
            .map_err(|error| error.in_file(path))
    }

    /// Only these certificates, each in DER; trusted as in [`Roots::from_pem`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoCertificate`] and [`ErrorKind::MalformedCertificate`]; one bad certificate refuses the whole input.
    pub fn from_der<I>(certificates: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: Into<CertificateDer<'static>>,
    {
        let certificates: Vec<_> = certificates.into_iter().map(Into::into).collect();
        check_certificates(&certificates)?;
        Ok(Self::given(certificates))
    }

    /// Trusts the roots of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.system |= other.system;
        self.given.extend(other.given);
        self
    }

    pub(crate) fn load(self) -> Result<RootCertStore, Error> {
        let mut store = RootCertStore::empty();
        if self.system {
            add_system(&mut store, rustls_native_certs::load_native_certs())?;
        }
        for certificate in self.given {
            store.add(certificate).map_err(|error| {
                Error::new(ErrorKind::MalformedCertificate, "a root is malformed")
                    .with_source(error)
            })?;
        }
        Ok(store)
    }

    pub(crate) fn given(given: Vec<CertificateDer<'static>>) -> Self {
        Self {
            system: false,
            given,
        }
    }
}

/// Adds the usable roots of the platform's store. Some unusable ones are common; the result is an error only if no root is usable.
fn add_system(store: &mut RootCertStore, found: CertificateResult) -> Result<(), Error> {
    let (added, _ignored) = store.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(());
    }
    let error = Error::new(
        ErrorKind::SystemRoots,
        "the platform's store holds no usable root certificate",
    );
    Err(match found.errors.into_iter().next() {
        Some(cause) => error.with_source(cause),
        None => error,
    })
}

impl Default for Roots {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots")
            .field("system", &self.system)
            .field("given", &self.given.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EC: &[u8] = include_bytes!("../tests/keys/ec-certificate.pem");
    const RSA: &[u8] = include_bytes!("../tests/keys/rsa-certificate.pem");
    const KEY: &[u8] = include_bytes!("../tests/keys/ec-sec1.pem");

    #[test]
    fn every_certificate_block_is_read_and_others_are_passed_over() {
        let roots = Roots::from_pem([EC, KEY, b"a comment\r\n", RSA].concat()).unwrap();
        assert_eq!(roots.load().unwrap().len(), 2);
    }

    #[test]
    fn der_is_trusted_as_pem_is() {
        let der = Roots::from_pem(EC).unwrap().given;
        assert_eq!(Roots::from_der(der).unwrap().load().unwrap().len(), 1);
    }

    #[test]
    fn windows_files_are_read() {
        let crlf = String::from_utf8(EC.to_vec())
            .unwrap()
            .replace('\n', "\r\n");
        assert_eq!(
            Roots::from_pem(format!("\u{feff}{crlf}"))
                .unwrap()
                .given
                .len(),
            1
        );
    }

    #[test]
    fn bad_input_is_refused_at_once() {
        let truncated = &EC[..EC.len() / 2];
        let no_x509 = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let no_base64 = b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n";
        for (input, kind) in [
            (b"".as_slice(), ErrorKind::NoCertificate),
            (b"not PEM at all", ErrorKind::MalformedCertificate),
            (KEY, ErrorKind::NoCertificate),
            (truncated, ErrorKind::MalformedCertificate),
            (no_base64, ErrorKind::MalformedCertificate),
            (no_x509, ErrorKind::MalformedCertificate),
            (&[EC, no_x509].concat(), ErrorKind::MalformedCertificate),
        ] {
            assert_eq!(Roots::from_pem(input).unwrap_err().kind(), kind);
        }

        assert_eq!(
            Roots::from_der(Vec::<Vec<u8>>::new()).unwrap_err().kind(),
            ErrorKind::NoCertificate
        );
        assert_eq!(
            Roots::from_der([vec![0x30, 0x00]]).unwrap_err().kind(),
            ErrorKind::MalformedCertificate
        );
    }

    #[test]
    fn files_are_named_in_errors() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/");
        assert!(Roots::from_pem_file(format!("{here}ec-certificate.pem")).is_ok());

        let keys = Roots::from_pem_file(format!("{here}ec-sec1.pem")).unwrap_err();
        assert_eq!(keys.kind(), ErrorKind::NoCertificate);
        assert!(keys.to_string().contains("ec-sec1.pem"));

        let none = Roots::from_pem_file(format!("{here}none.pem")).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::Read);
        assert!(none.to_string().contains("none.pem"));
        assert!(std::error::Error::source(&none).is_some());
    }

    #[test]
    fn roots_add_up() {
        let both = Roots::from_pem(EC)
            .unwrap()
            .and(Roots::from_pem(RSA).unwrap());
        assert_eq!(format!("{both:?}"), "Roots { system: false, given: 2 }");
        assert_eq!(both.clone().load().unwrap().len(), 2);

        let all = both.and(Roots::default());
        assert_eq!(format!("{all:?}"), "Roots { system: true, given: 2 }");
    }

    #[test]
    fn a_system_store_with_nothing_usable_is_an_error_and_a_partly_usable_one_is_not() {
        let mut store = RootCertStore::empty();
        let mut found = CertificateResult::default();
        found.certs.push(vec![0x30, 0x00].into());
        let error = add_system(&mut store, found).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SystemRoots);

        let mut found = CertificateResult::default();
        found.certs.push(vec![0x30, 0x00].into());
        found.certs.extend(Roots::from_pem(EC).unwrap().given);
        add_system(&mut store, found).unwrap();
        assert_eq!(store.len(), 1);
    }
}
