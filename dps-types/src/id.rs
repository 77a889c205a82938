//! Ids that are always valid: registration id, device id, id scope, hub host name, group id, operation id, ETag.

use std::borrow::Cow;

use crate::ParseError;

/// Defines an id: a string that was checked.
macro_rules! string_id {
    ($(#[$meta:meta])* pub struct $Name:ident($expected:literal, $check:expr) @ $case:ident) => {
        $(#[$meta])*
        #[derive(Clone)]
        pub struct $Name(String);

        impl $Name {
            /// Checks the text.
            ///
            /// # Errors
            /// Names the rule that the text breaks, and the first character that is not allowed.
            pub fn new(text: impl Into<String>) -> Result<Self, ParseError> {
                let text = text.into();
                match $check(text.as_str()) {
                    Ok(()) => Ok(Self(text)),
                    Err(reason) => Err(ParseError::new($expected, reason)),
                }
            }

            /// The text, in its original case.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $Name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $Name {
            type Error = ParseError;

            fn try_from(text: &str) -> Result<Self, ParseError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $Name {
            type Error = ParseError;

            fn try_from(text: String) -> Result<Self, ParseError> {
                Self::new(text)
            }
        }

        impl From<$Name> for String {
            fn from(id: $Name) -> String {
                id.0
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::fmt::Debug for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }

        impl Eq for $Name {}

        impl PartialEq<&str> for $Name {
            fn eq(&self, other: &&str) -> bool {
                *self == **other
            }
        }

        string_id!(@$case $Name);
    };
    (@exact $Name:ident) => {
        impl PartialEq for $Name {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }

        impl PartialEq<str> for $Name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl std::hash::Hash for $Name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl Ord for $Name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.0.cmp(&other.0)
            }
        }

        impl PartialOrd for $Name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
    };
    (@ignoring_case $Name:ident) => {
        impl $Name {
            /// The text in lower case. Two ids that are equal to DPS have the same text in lower case.
            pub fn to_lowercase(&self) -> String {
                self.0.to_ascii_lowercase()
            }

            fn folded(&self) -> impl Iterator<Item = u8> + '_ {
                self.0.bytes().map(|byte| byte.to_ascii_lowercase())
            }
        }

        impl PartialEq for $Name {
            fn eq(&self, other: &Self) -> bool {
                self.0.eq_ignore_ascii_case(&other.0)
            }
        }

        impl PartialEq<str> for $Name {
            fn eq(&self, other: &str) -> bool {
                self.0.eq_ignore_ascii_case(other)
            }
        }

        impl std::hash::Hash for $Name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.folded().for_each(|byte| state.write_u8(byte));
                state.write_u8(0xff);
            }
        }

        impl Ord for $Name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.folded().cmp(other.folded())
            }
        }

        impl PartialOrd for $Name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
    };
}

string_id! {
    /// The id of a device at DPS, unique within an id scope.
    ///
    /// 1 to 128 characters of `A-Z a-z 0-9 . _ : -`, the last one alphanumeric or `-`. Compared without
    /// regard to case, sent in its original case. With X.509 it is the common name of the leaf certificate.
    /// Source: azure-docs `iot-dps/concepts-service.md`.
    pub struct RegistrationId("registration id", enrollment_name) @ ignoring_case
}

string_id! {
    /// The id of an enrollment group. The same rules as for [`RegistrationId`] apply.
    pub struct EnrollmentGroupId("enrollment group id", enrollment_name) @ ignoring_case
}

string_id! {
    /// The id scope of a DPS instance, such as `0ne00000A0A`: 1 to 64 letters, digits, `_` and `-`.
    pub struct IdScope("id scope", |text| limited(text, 64, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))) @ ignoring_case
}

string_id! {
    /// The id of a device in its IoT hub: 1 to 128 characters of `A-Z a-z 0-9 - : . + % _ # * ? ! ( ) , = @ ; $ '`.
    /// Case matters. Source: azure-docs `iot-hub/iot-hub-devguide-identity-registry.md`.
    pub struct DeviceId("device id", |text| limited(text, 128, |b| b.is_ascii_alphanumeric() || b"-:.+%_#*?!(),=@;$'".contains(&b))) @ exact
}

string_id! {
    /// The id of a module of a device, such as `$edgeAgent`. The same rules as for [`DeviceId`] apply. Case matters.
    pub struct ModuleId("module id", |text| limited(text, 128, |b| b.is_ascii_alphanumeric() || b"-:.+%_#*?!(),=@;$'".contains(&b))) @ exact
}

string_id! {
    /// The host name of an IoT hub, such as `contoso.azure-devices.net`: 1 to 253 letters, digits, `.`, `-` and `_`.
    /// A name without a dot is valid: Microsoft's documentation uses `myIotHub`.
    pub struct HubHostname("hub host name", |text| limited(text, 253, |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))) @ ignoring_case
}

string_id! {
    /// The id of a registration in progress, such as `5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550`.
    /// Opaque; 1 to 256 characters that need no escape in a URL or an MQTT topic.
    pub struct OperationId("operation id", |text| limited(text, 256, |b| b.is_ascii_alphanumeric() || b"._:~-".contains(&b))) @ exact
}

string_id! {
    /// The version of a stored document: 1 to 256 printable ASCII characters, opaque.
    pub struct ETag("ETag", |text| limited(text, 256, |b| b.is_ascii_graphic())) @ exact
}

string_id! {
    /// The name of an Azure Device Registry namespace: 3 to 64 lower-case letters, digits and `-`, neither first nor last a `-`.
    /// Source: `service.json` of api-version 2026-11-01.
    pub struct NamespaceName("namespace name", namespace_name) @ exact
}

string_id! {
    /// The name of a certificate authority in a namespace: 3 to 63 letters, digits and `-`, not beginning with a `-`.
    /// Source: `service.json` of api-version 2026-11-01.
    pub struct CertificateAuthorityName("certificate authority name", certificate_name) @ ignoring_case
}

string_id! {
    /// The name of a policy of a certificate authority. The same rules as for [`CertificateAuthorityName`] apply.
    pub struct CertificatePolicyName("certificate policy name", certificate_name) @ ignoring_case
}

fn namespace_name(text: &str) -> Result<(), Cow<'static, str>> {
    limited(text, 64, |b| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'
    })?;
    at_least_three(text)?;
    match text.starts_with('-') || text.ends_with('-') {
        true => Err("the first and the last character must be alphanumeric".into()),
        false => Ok(()),
    }
}

fn certificate_name(text: &str) -> Result<(), Cow<'static, str>> {
    limited(text, 63, |b| b.is_ascii_alphanumeric() || b == b'-')?;
    at_least_three(text)?;
    match text.starts_with('-') {
        true => Err("the first character must be alphanumeric".into()),
        false => Ok(()),
    }
}

fn at_least_three(text: &str) -> Result<(), Cow<'static, str>> {
    match text.len() {
        0..3 => Err("it is shorter than 3 characters".into()),
        _ => Ok(()),
    }
}

fn enrollment_name(text: &str) -> Result<(), Cow<'static, str>> {
    limited(text, 128, |b| {
        b.is_ascii_alphanumeric() || b"._:-".contains(&b)
    })?;
    match text.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '-') {
        true => Ok(()),
        false => Err("the last character must be alphanumeric or '-'".into()),
    }
}

/// Checks the length in bytes and each character, and names the first that is not allowed with its position from 1.
fn limited(
    text: &str,
    max_bytes: usize,
    allowed: impl Fn(u8) -> bool,
) -> Result<(), Cow<'static, str>> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.len() > max_bytes {
        return Err(format!("it is longer than {max_bytes} characters").into());
    }
    let is_allowed = |c: char| u8::try_from(c).is_ok_and(|byte| byte.is_ascii() && allowed(byte));
    match text.chars().zip(1..).find(|(c, _)| !is_allowed(*c)) {
        Some((c, position)) => {
            Err(format!("the character {c:?} at position {position} is not allowed").into())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_registration_id_accepts_the_documented_characters() {
        for good in [
            "a",
            "A1-",
            "dev:1.x_y-z",
            "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6",
            &"x".repeat(128),
        ] {
            assert_eq!(RegistrationId::new(good).expect(good).as_str(), good);
        }
        for bad in [
            "",
            "a.",
            "a_",
            "a:",
            "a b",
            "ä",
            "a/b",
            "a%41",
            "a\0",
            &"x".repeat(129),
        ] {
            let error = RegistrationId::new(bad).expect_err(bad).to_string();
            assert!(error.starts_with("invalid registration id: "), "{error}");
        }
    }

    #[test]
    fn ids_keep_their_case_and_compare_without_it() {
        let one = RegistrationId::new("Dev-1").expect("valid");
        let other = RegistrationId::new("dEV-1").expect("valid");
        assert_eq!(one, other);
        assert_eq!(one.cmp(&other), std::cmp::Ordering::Equal);
        assert_eq!(one.to_string(), "Dev-1");
        assert_eq!(HashSet::from([one, other]).len(), 1);
        assert_ne!(DeviceId::new("Dev-1"), DeviceId::new("dev-1"));
    }

    #[test]
    fn names_of_certificate_issuance_follow_the_documented_patterns() {
        for good in ["abc", "a-1", &"a".repeat(64)] {
            assert!(NamespaceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "Abc", "-ab", "ab-", "a_c", &"a".repeat(65)] {
            assert!(NamespaceName::new(bad).is_err(), "{bad}");
        }
        for good in ["abc", "A-1", "ab-", &"a".repeat(63)] {
            assert!(CertificateAuthorityName::new(good).is_ok(), "{good}");
            assert!(CertificatePolicyName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "-ab", "a_c", "a.c", &"a".repeat(64)] {
            assert!(CertificateAuthorityName::new(bad).is_err(), "{bad}");
            assert!(CertificatePolicyName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_names_the_character_and_its_position() {
        for (text, reason) in [
            ("0ne 1", "the character ' ' at position 4 is not allowed"),
            (
                "0n\u{200b}e",
                "the character '\\u{200b}' at position 3 is not allowed",
            ),
            ("0ne1\n", "the character '\\n' at position 5 is not allowed"),
            ("éé", "the character 'é' at position 1 is not allowed"),
        ] {
            assert_eq!(IdScope::new(text).expect_err(text).reason(), reason);
        }
    }

    #[test]
    fn ids_compare_with_text_by_their_own_rule() {
        let id = RegistrationId::new("Dev-1").expect("valid");
        assert!(id == "dEV-1" && id == *"Dev-1" && id != "dev-2");
        let id = DeviceId::new("Dev-1").expect("valid");
        assert!(id == "Dev-1" && id != "dev-1" && id != *"dev-1");
    }

    #[test]
    fn a_device_id_accepts_the_characters_of_a_hub() {
        assert!(DeviceId::new("a-:.+%_#*?!(),=@;$'").is_ok());
        assert!(DeviceId::new("a/b").is_err());
    }

    #[test]
    fn hub_names_of_the_documentation_are_valid() {
        for good in [
            "myIotHub",
            "localhost",
            "hub.azure-devices.net",
            "contoso-toasters-hub-1098.azure-devices.net",
        ] {
            assert!(HubHostname::new(good).is_ok(), "{good}");
        }
        for bad in ["", "hub name", "https://hub", "hub:8883", "hub/devices"] {
            assert!(HubHostname::new(bad).is_err(), "{bad}");
        }
    }
}
