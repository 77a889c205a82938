//! By what the device's certificate says about it.

use std::fmt;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dps_types::AllocationRequest;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{Any, Ia5StringRef, ObjectIdentifier};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};
use x509_cert::name::Name;
use x509_cert::{Certificate, TbsCertificate};

use super::cases::Cases;
use crate::{Allocation, AllocationPolicy, Error, ErrorKind, Rejection};

/// Chooses among policies by a property of the certificate with which the device proved itself.
///
/// DPS has verified the certificate before it asks, so the property is as good as the authority that issued it. Values
/// are compared as they are, DNS names without regard to case. Where the property has several values, the first `when`
/// that names one of them counts. A device without certificate or property is rejected.
///
/// ```
/// use dps_allocation::policies::{ByCertificate, EvenlyWeighted, Fixed};
///
/// let policy = ByCertificate::subject_organization()
///     .when("Contoso Toasters", Fixed::to("toasters.azure-devices.net".parse()?))
///     .otherwise(EvenlyWeighted::new());
/// # let _ = policy;
/// # Ok::<(), dps_types::ParseError>(())
/// ```
#[derive(Debug)]
pub struct ByCertificate {
    property: Property,
    cases: Cases,
}

impl ByCertificate {
    /// By the subject's common name, which is the device's registration id.
    pub fn subject_common_name() -> Self {
        Self::by(Property::SubjectCommonName)
    }

    /// By the subject's organization.
    pub fn subject_organization() -> Self {
        Self::by(Property::SubjectOrganization)
    }

    /// By the subject's organizational unit.
    pub fn subject_organizational_unit() -> Self {
        Self::by(Property::SubjectOrganizationalUnit)
    }

    /// By the common name of the authority that issued the certificate.
    pub fn issuer_common_name() -> Self {
        Self::by(Property::IssuerCommonName)
    }

    /// By the organization of the authority that issued the certificate.
    pub fn issuer_organization() -> Self {
        Self::by(Property::IssuerOrganization)
    }

    /// By a URI among the subject's alternative names.
    pub fn uri() -> Self {
        Self::by(Property::Uri)
    }

    /// By an extension: its OID in dotted decimal. A value that is an ASN.1 text counts as that text, any other as the lower case
    /// hexadecimal digits of its DER.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPattern`](crate::ErrorKind::InvalidPattern) when it is no OID.
    pub fn extension(oid: &str) -> Result<Self, Error> {
        let oid = ObjectIdentifier::new(oid).map_err(|error| {
            Error::new(ErrorKind::InvalidPattern, format!("{oid:?} is not an OID"))
                .with_source(error)
        })?;
        Ok(Self::by(Property::Extension(oid)))
    }

    /// By a DNS name among the subject's alternative names.
    pub fn dns_name() -> Self {
        Self::by(Property::DnsName)
    }

    /// The policy for a value.
    #[must_use]
    pub fn when(
        mut self,
        value: impl Into<String>,
        policy: impl AllocationPolicy + 'static,
    ) -> Self {
        self.cases.when(value.into(), policy);
        self
    }

    /// The policy for all other values. Without it they are rejected.
    #[must_use]
    pub fn otherwise(mut self, policy: impl AllocationPolicy + 'static) -> Self {
        self.cases.otherwise(policy);
        self
    }

    fn by(property: Property) -> Self {
        Self {
            property,
            cases: Cases::default(),
        }
    }
}

#[async_trait]
impl AllocationPolicy for ByCertificate {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let values = self.property.values(&certificate(request)?);
        if values.is_empty() {
            let property = self.property;
            return Err(Rejection::new(format!(
                "the device's certificate has no {property}"
            )));
        }
        let same = match self.property {
            Property::DnsName => str::eq_ignore_ascii_case,
            _ => |case: &str, value: &str| case == value,
        };
        let policy = self.cases.choose(&self.property, &values, same)?;
        policy.allocate(request).await
    }
}

#[derive(Debug, Clone, Copy)]
enum Property {
    DnsName,
    Extension(ObjectIdentifier),
    IssuerCommonName,
    IssuerOrganization,
    SubjectCommonName,
    SubjectOrganization,
    SubjectOrganizationalUnit,
    Uri,
}

impl Property {
    fn values(self, certificate: &Certificate) -> Vec<String> {
        let certificate = certificate.tbs_certificate();
        match self {
            Self::DnsName => alternative_names(certificate, |name| match name {
                GeneralName::DnsName(name) => Some(name.to_string()),
                _ => None,
            }),
            Self::Uri => alternative_names(certificate, |name| match name {
                GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
                _ => None,
            }),
            Self::Extension(oid) => extensions(certificate, oid),
            Self::IssuerCommonName => attributes(certificate.issuer(), COMMON_NAME),
            Self::IssuerOrganization => attributes(certificate.issuer(), ORGANIZATION),
            Self::SubjectCommonName => attributes(certificate.subject(), COMMON_NAME),
            Self::SubjectOrganization => attributes(certificate.subject(), ORGANIZATION),
            Self::SubjectOrganizationalUnit => {
                attributes(certificate.subject(), ORGANIZATIONAL_UNIT)
            }
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DnsName => "DNS name",
            Self::Extension(oid) => return write!(f, "extension {oid}"),
            Self::IssuerOrganization => "issuer organization",
            Self::Uri => "URI",
            Self::IssuerCommonName => "issuer common name",
            Self::SubjectCommonName => "subject common name",
            Self::SubjectOrganization => "subject organization",
            Self::SubjectOrganizationalUnit => "subject organizational unit",
        })
    }
}

/// The leaf certificate: base64 of DER, as DPS sends it, or PEM.
fn certificate(request: &AllocationRequest) -> Result<Certificate, Rejection> {
    let text = request
        .device_runtime_context
        .x509
        .as_ref()
        .and_then(|x509| x509.client_certificate.as_deref())
        .ok_or_else(|| Rejection::new("the device proved itself without a certificate"))?;
    let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| {
        Rejection::new("the device's certificate cannot be read").with_source(error)
    };
    if text.contains("-----BEGIN") {
        let chain = Certificate::load_pem_chain(text.trim().as_bytes());
        let leaf = chain
            .map_err(|error| unreadable(error.into()))?
            .into_iter()
            .next();
        return leaf.ok_or_else(|| unreadable("the PEM holds no certificate".into()));
    }
    let base64: String = text.split_ascii_whitespace().collect();
    let der = STANDARD
        .decode(base64)
        .map_err(|error| unreadable(error.into()))?;
    Certificate::from_der(&der).map_err(|error| unreadable(error.into()))
}

fn attributes(name: &Name, oid: ObjectIdentifier) -> Vec<String> {
    name.iter()
        .filter(|attribute| attribute.oid == oid)
        .filter_map(|attribute| text(&attribute.value))
        .collect()
}

fn alternative_names(
    certificate: &TbsCertificate,
    wanted: fn(GeneralName) -> Option<String>,
) -> Vec<String> {
    let extension = certificate.get_extension::<SubjectAltName>().ok().flatten();
    let names = extension.map(|(_critical, names)| names.0);
    names.into_iter().flatten().filter_map(wanted).collect()
}

fn extensions(certificate: &TbsCertificate, oid: ObjectIdentifier) -> Vec<String> {
    let extensions = certificate.extensions().into_iter().flatten();
    extensions
        .filter(|extension| extension.extn_id == oid)
        .map(|extension| text_or_hex(extension.extn_value.as_bytes()))
        .collect()
}

fn text_or_hex(der: &[u8]) -> String {
    let text = Any::from_der(der).ok().and_then(|value| text(&value));
    text.unwrap_or_else(|| der.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(value: &Any) -> Option<String> {
    DirectoryString::try_from(value)
        .map(String::from)
        .or_else(|_| Ia5StringRef::try_from(value).map(|text| text.to_string()))
        .ok()
}

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
