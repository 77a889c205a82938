//! Certificates in an enrollment: what the operator uploads, and what the service tells about them.

use crate::Timestamp;

lossless! {
    /// Which certificates to accept.
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
        /// The one in use.
        primary: Option<X509CertificateWithInfo> = "primary",
        /// The next one.
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
    /// A certificate on its way in, or what the service tells about it.
    #[derive(Default)]
    pub struct X509CertificateWithInfo {
        /// PEM, or base64 of the DER. The service never returns it.
        certificate: Option<String> = "certificate",
        /// What the service read in it.
        info: Option<X509CertificateInfo> = "info",
    }
}

impl X509CertificateWithInfo {
    /// A certificate on its way in: PEM, or base64 of the DER.
    pub fn new(certificate: impl Into<String>) -> Self {
        Self {
            certificate: Some(certificate.into()),
            ..Self::default()
        }
    }
}

lossless! {
    /// What a certificate says.
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
        /// The X.509 version: 3.
        version: i32 = "version",
    }
}

impl X509CertificateInfo {
    /// Information with empty names, to be filled in.
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
        /// The one in use.
        primary: Option<String> = "primary",
        /// The next one.
        secondary: Option<String> = "secondary",
    }
}
