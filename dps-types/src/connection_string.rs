//! The connection string of the service API: instance, policy and key.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::{ParseError, SymmetricKey};

const EXPECTED: &str = "service connection string";

/// A connection string `HostName=…;SharedAccessKeyName=…;SharedAccessKey=…`, as the portal shows it.
///
/// The host name may carry a port (`localhost:8443`). Field names are read without regard to case;
/// unknown fields are ignored. Display leaves the key out: [`ServiceConnectionString::reveal`] includes it.
///
/// ```
/// use dps_types::ServiceConnectionString;
///
/// let text = "HostName=contoso.azure-devices-provisioning.net;SharedAccessKeyName=provisioningserviceowner;\
///             SharedAccessKey=dGhpcyBpcyBhIGtleSBmb3IgdGhlIGV4YW1wbGU=";
/// let connection: ServiceConnectionString = text.parse()?;
/// assert_eq!(connection.shared_access_key_name(), "provisioningserviceowner");
/// # Ok::<_, dps_types::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConnectionString {
    host_name: String,
    shared_access_key_name: String,
    shared_access_key: SymmetricKey,
}

impl ServiceConnectionString {
    /// Creates a connection string.
    ///
    /// # Errors
    /// If host or policy are empty or hold a `;`, white space, `/` or a control character.
    pub fn new(
        host_name: impl Into<String>,
        shared_access_key_name: impl Into<String>,
        shared_access_key: SymmetricKey,
    ) -> Result<Self, ParseError> {
        let (host_name, shared_access_key_name) = (host_name.into(), shared_access_key_name.into());
        check_word("HostName", &host_name)?;
        check_word("SharedAccessKeyName", &shared_access_key_name)?;
        Ok(Self {
            host_name,
            shared_access_key_name,
            shared_access_key,
        })
    }

    /// `{dps}.azure-devices-provisioning.net`, or a name with a port.
    pub fn host_name(&self) -> &str {
        &self.host_name
    }

    /// The shared access policy, such as `provisioningserviceowner`.
    pub fn shared_access_key_name(&self) -> &str {
        &self.shared_access_key_name
    }

    /// The key of that policy.
    pub fn shared_access_key(&self) -> &SymmetricKey {
        &self.shared_access_key
    }

    /// The text with the key. This is a secret; it is wiped when dropped.
    pub fn reveal(&self) -> Zeroizing<String> {
        let key = self.shared_access_key.to_base64();
        Zeroizing::new(format!(
            "HostName={};SharedAccessKeyName={};SharedAccessKey={}",
            self.host_name, self.shared_access_key_name, *key
        ))
    }
}

impl FromStr for ServiceConnectionString {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (mut host, mut policy, mut key) = (None, None, None);
        for field in text.trim().split(';').filter(|field| !field.is_empty()) {
            let Some((name, value)) = field.split_once('=') else {
                return Err(ParseError::new(EXPECTED, "a field has no '='"));
            };
            let slot = match name.trim().to_ascii_lowercase().as_str() {
                "hostname" => &mut host,
                "sharedaccesskeyname" => &mut policy,
                "sharedaccesskey" => &mut key,
                _ => continue,
            };
            if slot.replace(value.trim()).is_some() {
                return Err(ParseError::new(EXPECTED, "a field appears twice"));
            }
        }
        let missing = |name| ParseError::new(EXPECTED, format!("{name} is missing"));
        let key = key.ok_or_else(|| missing("SharedAccessKey"))?;
        let key = SymmetricKey::from_base64(key).map_err(|error| {
            ParseError::new(EXPECTED, format!("SharedAccessKey: {}", error.reason()))
        })?;
        Self::new(
            host.ok_or_else(|| missing("HostName"))?,
            policy.ok_or_else(|| missing("SharedAccessKeyName"))?,
            key,
        )
    }
}

impl fmt::Display for ServiceConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "HostName={};SharedAccessKeyName={};SharedAccessKey=..",
            self.host_name, self.shared_access_key_name
        )
    }
}

fn check_word(name: &str, text: &str) -> Result<(), ParseError> {
    let wrong = |c: char| c == ';' || c == '/' || c.is_whitespace() || c.is_control();
    match text.is_empty() || text.contains(wrong) {
        true => Err(ParseError::new(
            EXPECTED,
            format!("{name} is empty or has a character that is not allowed"),
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQ=";

    #[test]
    fn the_text_of_the_portal_is_read() {
        let text = format!(
            "HostName=contoso.azure-devices-provisioning.net;SharedAccessKeyName=provisioningserviceowner;SharedAccessKey={KEY}"
        );
        let parsed: ServiceConnectionString = text.parse().expect("valid");
        assert_eq!(parsed.host_name, "contoso.azure-devices-provisioning.net");
        assert_eq!(parsed.shared_access_key_name, "provisioningserviceowner");
        assert_eq!(*parsed.reveal(), text);
        assert!(!parsed.to_string().contains(KEY) && !format!("{parsed:?}").contains(KEY));
    }

    #[test]
    fn order_case_and_unknown_fields_do_not_matter() {
        let text = format!(
            " sharedaccesskey={KEY};HOSTNAME=localhost:8443;Extra=1;SharedAccessKeyName=me; "
        );
        assert_eq!(
            text.parse::<ServiceConnectionString>()
                .expect("valid")
                .host_name,
            "localhost:8443"
        );
    }

    #[test]
    fn each_mistake_has_its_own_message_and_none_shows_the_key() {
        for (text, reason) in [
            ("", "SharedAccessKey is missing"),
            ("HostName", "a field has no '='"),
            (
                "SharedAccessKeyName=p;SharedAccessKey=@",
                "HostName is missing",
            ),
            (
                "HostName=h;SharedAccessKey=@",
                "SharedAccessKeyName is missing",
            ),
            ("HostName=h;HostName=i", "a field appears twice"),
            (
                "HostName=;SharedAccessKeyName=p;SharedAccessKey=@",
                "HostName is empty or has a character that is not allowed",
            ),
            (
                "HostName=https://h;SharedAccessKeyName=p;SharedAccessKey=@",
                "HostName is empty or has a character that is not allowed",
            ),
            (
                "HostName=h;SharedAccessKeyName=p;SharedAccessKey=x!",
                "SharedAccessKey: it is not base64",
            ),
        ] {
            let text = text.replace('@', KEY);
            let error = text.parse::<ServiceConnectionString>().expect_err(&text);
            assert_eq!(error.reason(), reason, "{text}");
            assert!(!error.to_string().contains(KEY));
        }
    }
}
