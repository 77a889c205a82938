//! A policy that chooses by a property of the certificate of the device.

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use dps_types::AllocationRequest;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{Any, Ia5StringRef, ObjectIdentifier};
use x509_cert::der::oid::db::rfc4519;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};
use x509_cert::name::Name;
use x509_cert::{Certificate, TbsCertificate};

use super::cases::Cases;
use crate::{Allocation, AllocationPolicy, Error, ErrorKind, Rejection};

/// Chooses a policy by a property of the certificate with which the device authenticated.
///
/// DPS verifies the certificate before it calls the webhook, so the property is as trustworthy as the certificate authority
/// that issued it. Values are compared exactly; DNS names, the domains of e-mail addresses and IP addresses are compared as
/// such, so case and notation do not matter. If the property has several values, the first `when` that matches one of them
/// is used. A device without a certificate, or whose certificate lacks the property, is rejected.
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
    /// Chooses by the common name of the subject, which is the registration id of the device.
    pub fn subject_common_name() -> Self {
        Self::by(Property::SubjectCommonName)
    }

    /// Chooses by the organization of the subject.
    pub fn subject_organization() -> Self {
        Self::by(Property::SubjectOrganization)
    }

    /// Chooses by the organizational unit of the subject.
    pub fn subject_organizational_unit() -> Self {
        Self::by(Property::SubjectOrganizationalUnit)
    }

    /// Chooses by the common name of the issuer.
    pub fn issuer_common_name() -> Self {
        Self::by(Property::IssuerCommonName)
    }

    /// Chooses by the organization of the issuer.
    pub fn issuer_organization() -> Self {
        Self::by(Property::IssuerOrganization)
    }

    /// Chooses by a URI in the subject alternative name.
    pub fn uri() -> Self {
        Self::by(Property::Uri)
    }

    /// Chooses by the value of an extension, which is named by its OID in dotted decimal notation. An ASN.1 string is
    /// compared as text. Any other value is compared as lower case hexadecimal digits of its DER.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPattern`](crate::ErrorKind::InvalidPattern) when the OID is not valid.
    pub fn extension(oid: &str) -> Result<Self, Error> {
        let oid = ObjectIdentifier::new(oid).map_err(|error| {
            let message = format!("{oid:?} is not a valid OID such as 1.3.6.1.4.1.311.1");
            Error::new(ErrorKind::InvalidPattern, message).with_source(error)
        })?;
        Ok(Self::by(Property::Extension(oid)))
    }

    /// Chooses by a DNS name in the subject alternative name.
    pub fn dns_name() -> Self {
        Self::by(Property::DnsName)
    }

    /// Chooses by an e-mail address in the subject alternative name. The case of its domain does not matter.
    pub fn email() -> Self {
        Self::by(Property::Email)
    }

    /// Chooses by an IPv4 or IPv6 address in the subject alternative name, in any notation of the address.
    pub fn ip_address() -> Self {
        Self::by(Property::IpAddress)
    }

    /// Sets the policy for a value.
    #[must_use]
    pub fn when(
        mut self,
        value: impl Into<String>,
        policy: impl AllocationPolicy + 'static,
    ) -> Self {
        self.cases.when(value.into(), policy);
        self
    }

    /// Sets the policy for all other values. Without it they are rejected.
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
        let equal = match self.property {
            Property::DnsName => str::eq_ignore_ascii_case,
            Property::Email => is_same_mailbox,
            Property::IpAddress => is_same_address,
            _ => |case: &str, value: &str| case == value,
        };
        let policy = self.cases.choose(&self.property, &values, equal)?;
        policy.allocate(request).await
    }
}

#[derive(Debug, Clone, Copy)]
enum Property {
    DnsName,
    Email,
    Extension(ObjectIdentifier),
    IpAddress,
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
            Self::Email => alternative_names(certificate, |name| match name {
                GeneralName::Rfc822Name(address) => Some(address.to_string()),
                _ => None,
            }),
            Self::IpAddress => alternative_names(certificate, |name| match name {
                GeneralName::IpAddress(bytes) => ip_address(bytes.as_bytes()),
                _ => None,
            }),
            Self::Uri => alternative_names(certificate, |name| match name {
                GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
                _ => None,
            }),
            Self::Extension(oid) => extensions(certificate, oid),
            Self::IssuerCommonName => attributes(certificate.issuer(), rfc4519::COMMON_NAME),
            Self::IssuerOrganization => {
                attributes(certificate.issuer(), rfc4519::ORGANIZATION_NAME)
            }
            Self::SubjectCommonName => attributes(certificate.subject(), rfc4519::COMMON_NAME),
            Self::SubjectOrganization => {
                attributes(certificate.subject(), rfc4519::ORGANIZATION_NAME)
            }
            Self::SubjectOrganizationalUnit => {
                attributes(certificate.subject(), rfc4519::ORGANIZATIONAL_UNIT_NAME)
            }
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DnsName => "DNS name",
            Self::Email => "e-mail address",
            Self::IpAddress => "IP address",
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

/// Reads the leaf certificate: base64 of DER, as DPS sends it, or PEM.
fn certificate(request: &AllocationRequest) -> Result<Certificate, Rejection> {
    let text = request
        .device_runtime_context
        .x509
        .as_ref()
        .and_then(|x509| x509.client_certificate.as_deref())
        .ok_or_else(|| Rejection::new("the device did not authenticate with a certificate"))?;
    let unreadable = |error: Box<dyn std::error::Error + Send + Sync>| {
        Rejection::new("the device's certificate is not valid").with_source(error)
    };
    if text.contains("-----BEGIN") {
        let chain = Certificate::load_pem_chain(text.trim().as_bytes());
        let leaf = chain
            .map_err(|error| unreadable(error.into()))?
            .into_iter()
            .next();
        return leaf.ok_or_else(|| unreadable("the PEM contains no certificate".into()));
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
    select: fn(GeneralName) -> Option<String>,
) -> Vec<String> {
    let extension = certificate.get_extension::<SubjectAltName>().ok().flatten();
    let names = extension.map(|(_critical, names)| names.0);
    names.into_iter().flatten().filter_map(select).collect()
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
    text.unwrap_or_else(|| HEXLOWER.encode(der))
}

fn text(value: &Any) -> Option<String> {
    DirectoryString::try_from(value)
        .map(String::from)
        .or_else(|_| Ia5StringRef::try_from(value).map(|text| text.to_string()))
        .ok()
}

fn ip_address(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    };
    address.map(|address| address.to_string())
}

fn is_same_address(case: &str, value: &str) -> bool {
    let address = |text: &str| text.parse::<IpAddr>().ok();
    address(case).is_some_and(|case| address(value) == Some(case))
}

/// RFC 5280, 7.5: the local part is compared exactly, the domain ignoring case.
fn is_same_mailbox(case: &str, value: &str) -> bool {
    match (case.rsplit_once('@'), value.rsplit_once('@')) {
        (Some((case, domain)), Some((value, other))) => {
            case == value && domain.eq_ignore_ascii_case(other)
        }
        _ => case == value,
    }
}
