//! The configuration of a certificate authority that issues certificates to devices.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use dps_types::{CertificateAuthorityName, CertificatePolicyName, NamespaceName};
use serde::{Deserialize, Serialize};

use super::choices;
use crate::error::{Error, ErrorKind};
use crate::issuer::DAY;

/// The shortest and the longest validity of an issued certificate, in days. Source: azure-docs, certificate policies of Azure
/// Device Registry.
const MIN_DAYS: u16 = 1;
const MAX_DAYS: u16 = 90;

/// A certificate authority in a namespace, and its one policy. It issues certificates to devices whose enrollment names all
/// three.
///
/// As text it is `NAMESPACE/CA/POLICY[=DAYS][,rsa]`:
///
/// ```
/// use dps_emulator::IssuingAuthority;
///
/// let authority: IssuingAuthority = "contoso/factory-1/thermostats=7".parse()?;
/// assert_eq!(authority.to_string(), "contoso/factory-1/thermostats=7");
/// # Ok::<_, dps_emulator::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuingAuthority {
    pub(super) name: IssuerName,
    pub(super) days: u16,
    pub(super) accepts_rsa: bool,
}

/// The names of a certificate authority and its policy, as an enrollment has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IssuerName {
    pub(crate) namespace: NamespaceName,
    pub(crate) authority: CertificateAuthorityName,
    pub(crate) policy: CertificatePolicyName,
}

impl IssuingAuthority {
    /// A certificate authority whose certificates are valid for 30 days. It accepts ECDSA keys on P-256 and P-384.
    pub fn new(
        namespace: NamespaceName,
        authority: CertificateAuthorityName,
        policy: CertificatePolicyName,
    ) -> Self {
        Self {
            name: IssuerName {
                namespace,
                authority,
                policy,
            },
            days: choices::DEFAULT_DAYS,
            accepts_rsa: false,
        }
    }

    /// Sets the validity of the certificates in days. They never end after the certificate of the authority.
    ///
    /// # Panics
    /// If it is not 1 to 90, which is what the service accepts.
    #[must_use]
    pub fn validity_days(self, days: u16) -> Self {
        assert!(
            (MIN_DAYS..=MAX_DAYS).contains(&days),
            "the validity of certificates must be 1 to 90 days, and is {days}"
        );
        Self { days, ..self }
    }

    /// Accepts certificate requests with RSA keys as well, which the service refuses.
    #[must_use]
    pub fn accept_rsa(self) -> Self {
        Self {
            accepts_rsa: true,
            ..self
        }
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.name.is_of(&other.name)
    }

    pub(super) fn validity(&self) -> Duration {
        u32::from(self.days) * DAY
    }
}

impl IssuerName {
    /// Whether the certificate authority is the same. Its policy may differ.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.namespace == other.namespace && self.authority == other.authority
    }
}

impl fmt::Display for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.authority, self.policy)
    }
}

impl fmt::Display for IssuingAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.days)?;
        match self.accepts_rsa {
            true => f.write_str(",rsa"),
            false => Ok(()),
        }
    }
}

impl FromStr for IssuingAuthority {
    type Err = Error;

    /// Reads `NAMESPACE/CA/POLICY[=DAYS][,rsa]`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |reason: &str| {
            let reason = format!("'{text}' is not a valid certificate authority: {reason}");
            Error::new(ErrorKind::Configuration, reason)
        };
        let (rest, accepts_rsa) = match text.split_once(',') {
            None => (text, false),
            Some((rest, "rsa")) => (rest, true),
            Some(_) => return Err(invalid("the only word after a comma is rsa")),
        };
        let (names, days) = match rest.split_once('=') {
            Some((names, days)) => (names, Some(days)),
            None => (rest, None),
        };
        let mut names = names.split('/');
        let (Some(namespace), Some(authority), Some(policy), None) =
            (names.next(), names.next(), names.next(), names.next())
        else {
            return Err(invalid("it must be NAMESPACE/CA/POLICY[=DAYS][,rsa]"));
        };
        let wrong = |error: dps_types::ParseError| invalid(&error.to_string());
        let days = match days {
            None => choices::DEFAULT_DAYS,
            Some(days) => days
                .parse()
                .ok()
                .filter(|days| (MIN_DAYS..=MAX_DAYS).contains(days))
                .ok_or_else(|| invalid("the number of days must be 1 to 90"))?,
        };
        let new = Self::new(
            namespace.parse().map_err(wrong)?,
            authority.parse().map_err(wrong)?,
            policy.parse().map_err(wrong)?,
        );
        Ok(Self {
            days,
            accepts_rsa,
            ..new
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_names_days_and_rsa() {
        for (text, days, rsa) in [
            ("contoso/ca-1/all", 30, false),
            ("contoso/ca-1/all=1", 1, false),
            ("contoso/ca-1/all=90,rsa", 90, true),
            ("contoso/ca-1/all,rsa", 30, true),
        ] {
            let read: IssuingAuthority = text.parse().unwrap();
            assert_eq!((read.days, read.accepts_rsa), (days, rsa), "{text}");
            assert_eq!(read.to_string().parse::<IssuingAuthority>().unwrap(), read);
        }
    }

    #[test]
    fn invalid_texts_are_refused_with_the_reason() {
        for (text, reason) in [
            ("", "must be NAMESPACE/CA/POLICY"),
            ("contoso/ca-1", "must be NAMESPACE/CA/POLICY"),
            ("contoso/ca-1/all/more", "must be NAMESPACE/CA/POLICY"),
            ("contoso/ca-1/all=0", "1 to 90"),
            ("contoso/ca-1/all=91", "1 to 90"),
            ("contoso/ca-1/all=x", "1 to 90"),
            ("contoso/ca-1/all,dsa", "rsa"),
            ("Contoso/ca-1/all", "namespace"),
            ("contoso/c/all", "certificate authority name"),
            ("contoso/ca-1/-all", "certificate policy name"),
        ] {
            let error = text.parse::<IssuingAuthority>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
