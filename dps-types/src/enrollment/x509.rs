//! X.509 certificates in an enrollment, and the information that the service returns about them.

use crate::Timestamp;

lossless! {
    /// The certificates of X.509 attestation.
    #[derive(Default)]
    pub struct X509Attestation {
        /// Exactly these leaf certificates. For individual enrollments.
        client_certificates: Option<X509Certificates> = "clientCertificates",
        /// Leaf certificates that these signed.
        signing_certificates: Option<X509Certificates> = "signingCertificates",
        /// Leaf certificates that these CAs of the instance signed.
        ca_references: Option<X509CaReferences> = "caReferences",
    }
}

lossless! {
    /// Two certificates; either is accepted, so that one can be replaced.
    #[derive(Default)]
    pub struct X509Certificates {
        /// The primary one.
        primary: Option<X509CertificateWithInfo> = "primary",
        /// The secondary one.
        secondary: Option<X509CertificateWithInfo> = "secondary",
    }
}

impl X509Certificates {
    /// A primary certificate: PEM, or base64 of the DER.
    pub fn new(primary: impl Into<String>) -> Self {
        Self {
            primary: Some(X509CertificateWithInfo::new(primary)),
            ..Self::default()
        }
    }

    /// Adds a secondary one.
    #[must_use]
    pub fn with_secondary(mut self, secondary: impl Into<String>) -> Self {
        self.secondary = Some(X509CertificateWithInfo::new(secondary));
        self
    }
}

lossless! {
    /// A certificate to upload, or the information that the service returns about it.
    #[derive(Default)]
    pub struct X509CertificateWithInfo {
        /// PEM, or base64 of the DER. The service never returns it.
        certificate: Option<String> = "certificate",
        /// The information of the service.
        info: Option<X509CertificateInfo> = "info",
    }
}

impl X509CertificateWithInfo {
    /// A certificate to upload: PEM, or base64 of the DER.
    pub fn new(certificate: impl Into<String>) -> Self {
        Self {
            certificate: Some(certificate.into()),
            ..Self::default()
        }
    }
}

lossless! {
    /// The information in a certificate.
    pub struct X509CertificateInfo {
        /// The subject's distinguished name.
        subject_name: String = "subjectName",
        /// SHA-1 of the DER, upper-case hex.
        sha1_thumbprint: String = "sha1Thumbprint",
        /// SHA-256 of the DER, upper-case hex.
        sha256_thumbprint: String = "sha256Thumbprint",
        /// The issuer's distinguished name.
        issuer_name: String = "issuerName",
        /// Valid from.
        not_before_utc: Timestamp = "notBeforeUtc",
        /// Valid until.
        not_after_utc: Timestamp = "notAfterUtc",
        /// The serial number, in hex.
        serial_number: String = "serialNumber",
        /// The X.509 version, usually 3.
        version: i32 = "version",
    }
}

impl X509CertificateInfo {
    /// Creates information with empty names.
    pub fn new(not_before_utc: Timestamp, not_after_utc: Timestamp) -> Self {
        Self {
            subject_name: String::new(),
            sha1_thumbprint: String::new(),
            sha256_thumbprint: String::new(),
            issuer_name: String::new(),
            not_before_utc,
            not_after_utc,
            serial_number: String::new(),
            version: 3,
            extra: Default::default(),
        }
    }
}

lossless! {
    /// CA certificates of the instance, by name.
    #[derive(Default)]
    pub struct X509CaReferences {
        /// The primary one.
        primary: Option<String> = "primary",
        /// The secondary one.
        secondary: Option<String> = "secondary",
    }
}
