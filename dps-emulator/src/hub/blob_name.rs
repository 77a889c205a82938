//! The name of a file that a device uploads, and its place in the folder.
//!
//! Source: Azure Storage, "Naming and referencing containers, blobs, and metadata".

use std::fmt;
use std::path::PathBuf;

use dps_types::DeviceId;

use crate::service_error::ServiceError;

/// The longest name, in characters.
const MAX_LENGTH: usize = 1024;
/// The most segments of a name.
const MAX_SEGMENTS: usize = 254;
/// The longest name of a file or folder, in bytes.
const MAX_FILE_NAME: usize = 255;

/// `{deviceId}/{name}`, with `/` between the segments of the name. No segment leads out of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobName {
    device_id: DeviceId,
    segments: Vec<String>,
}

impl BlobName {
    pub(crate) fn new(device_id: &DeviceId, name: &str) -> Result<Self, ServiceError> {
        let refused = |reason: &str| ServiceError::invalid(format!("The blobName {reason}."));
        if name.is_empty() || name.chars().count() > MAX_LENGTH {
            return Err(refused("must have 1 to 1024 characters"));
        }
        if name.chars().any(|c| c.is_control() || c == '\\') {
            return Err(refused("must not have control characters or backslashes"));
        }
        let segments: Vec<String> = name.split('/').map(str::to_owned).collect();
        if segments.len() > MAX_SEGMENTS {
            return Err(refused("has too many segments"));
        }
        for segment in &segments {
            if ["", ".", ".."].contains(&segment.as_str()) {
                return Err(refused("must not have empty segments, '.' or '..'"));
            }
            if file_name(segment).len() > MAX_FILE_NAME {
                return Err(refused("has a segment that is too long for a file"));
            }
        }
        Ok(Self {
            device_id: device_id.clone(),
            segments,
        })
    }

    /// Reads `{deviceId}/{name}`.
    pub(crate) fn parse(text: &str) -> Result<Self, ServiceError> {
        let (device_id, name) = text.split_once('/').unwrap_or((text, ""));
        Self::new(&DeviceId::new(device_id)?, name)
    }

    /// The file, relative to the folder of the hub.
    pub(super) fn path(&self) -> PathBuf {
        let mut path = PathBuf::from(file_name(self.device_id.as_str()));
        path.extend(self.segments.iter().map(|segment| file_name(segment)));
        path
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.device_id, self.segments.join("/"))
    }
}

/// The name of a file or folder: letters, digits, `-`, `_`, and `.` inside. All else is percent-encoded, so that different
/// names have different files on every system.
fn file_name(segment: &str) -> String {
    let last = segment.len().saturating_sub(1);
    let mut name = String::with_capacity(segment.len());
    for (index, byte) in segment.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric()
            || b"-_".contains(&byte)
            || (byte == b'.' && index != 0 && index != last);
        match is_plain {
            true => name.push(char::from(byte)),
            false => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Result<BlobName, ServiceError> {
        BlobName::new(&"dev-1".parse().expect("an id"), text)
    }

    #[test]
    fn a_name_has_a_file_in_the_folder_of_the_device() {
        for (text, path) in [
            ("log.txt", "dev-1/log.txt"),
            ("2026/11/log.txt", "dev-1/2026/11/log.txt"),
            ("a b:c.", "dev-1/a%20b%3Ac%2E"),
            (".hidden", "dev-1/%2Ehidden"),
            ("100%", "dev-1/100%25"),
            ("ü", "dev-1/%C3%BC"),
        ] {
            let name = name(text).expect("valid");
            assert_eq!(name.path(), PathBuf::from(path), "{text}");
            assert_eq!(name.to_string(), format!("dev-1/{text}"));
            assert_eq!(BlobName::parse(&name.to_string()), Ok(name));
        }
    }

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        for text in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../secret",
            "a/../../secret",
            "a/./b",
            "a//b",
            "a/",
            "a\\b",
            "..\\secret",
            "a\0b",
            "a\nb",
        ] {
            assert_eq!(name(text).unwrap_err().status(), 400, "{text:?}");
        }
        assert!(name(&"a".repeat(255)).is_ok());
        assert!(name(&"a".repeat(256)).is_err());
        assert!(name(&"a/".repeat(300)).is_err());
    }

    proptest! {
        #[test]
        fn every_accepted_name_stays_in_the_folder(text in "\\PC{0,40}") {
            if let Ok(name) = name(&text) {
                let path = name.path();
                prop_assert!(path.starts_with("dev-1"));
                prop_assert!(path.components().all(|it| matches!(it, std::path::Component::Normal(_))));
                prop_assert_eq!(BlobName::parse(&name.to_string()), Ok(name));
            }
        }
    }
}
