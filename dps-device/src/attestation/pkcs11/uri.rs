//! The PKCS#11 URI (RFC 7512), which selects a module, a token and an object, and names the source of the PIN.

mod parse;

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, percent_encode_byte};
use zeroize::Zeroizing;

/// A PKCS#11 URI. Source: RFC 7512.
///
/// An attribute that is missing matches everything: `pkcs11:` matches any token. Vendor-specific attributes are ignored. An attribute
/// that occurs twice is an error.
///
/// Neither Debug nor Display shows a `pin-value`. Prefer `pin-source`, because URIs end up in configuration files.
///
/// ```
/// use dps_device::pkcs11::Uri;
///
/// let uri: Uri = "pkcs11:token=device;object=toaster-1?module-path=/usr/lib/softhsm/libsofthsm2.so".parse()?;
/// # drop(uri);
/// # Ok::<_, dps_device::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Uri {
    pub(super) token: TokenAttributes,
    pub(super) slot: SlotAttributes,
    pub(super) library: LibraryAttributes,
    object: Option<String>,
    id: Option<Vec<u8>>,
    kind: Option<ObjectKind>,
    module_name: Option<String>,
    module_path: Option<PathBuf>,
    pin: Option<PinAttribute>,
}

/// The attributes of a token.
#[derive(Clone, Default)]
pub(super) struct TokenAttributes {
    pub(super) label: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
}

/// The attributes of a slot.
#[derive(Clone, Default)]
pub(super) struct SlotAttributes {
    pub(super) id: Option<u64>,
    pub(super) description: Option<String>,
    pub(super) manufacturer: Option<String>,
}

/// The attributes of a module.
#[derive(Clone, Default)]
pub(super) struct LibraryAttributes {
    pub(super) description: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) version: Option<(u8, u8)>,
}

#[derive(Clone, Copy)]
enum ObjectKind {
    Certificate,
    Data,
    PrivateKey,
    PublicKey,
    SecretKey,
}

#[derive(Clone)]
pub(super) enum PinAttribute {
    Value(Zeroizing<String>),
    Source(String),
}

impl Uri {
    /// `object`: the label of an object.
    pub fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// `id`: the CKA_ID of an object. A certificate and its keys have the same id.
    pub fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }

    /// `token`: the label of a token.
    pub fn token(&self) -> Option<&str> {
        self.token.label.as_deref()
    }

    /// `module-path`: the file of the module, or the folder that contains `module-name`.
    pub fn module_path(&self) -> Option<&Path> {
        self.module_path.as_deref()
    }

    /// `module-name`: the file name of the module without the prefix `lib` and without the suffix.
    pub fn module_name(&self) -> Option<&str> {
        self.module_name.as_deref()
    }

    /// Returns the URI for the object with this label and any id.
    #[must_use]
    pub fn with_object(mut self, label: impl Into<String>) -> Self {
        self.object = Some(label.into());
        self.id = None;
        self
    }

    /// Returns the URI for the object with this id and any label.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.id = Some(id.into());
        self.object = None;
        self
    }

    /// Returns the URI with this module.
    #[must_use]
    pub fn with_module_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.module_path = Some(path.into());
        self
    }

    /// The part that selects the object.
    #[cfg(feature = "certificates")]
    pub(crate) fn object_only(&self) -> Self {
        Self::of_object(self.object.clone(), self.id.clone())
    }

    /// The URI of an object alone.
    pub(super) fn of_object(label: Option<String>, id: Option<Vec<u8>>) -> Self {
        Self {
            object: label,
            id,
            ..Self::default()
        }
    }

    pub(super) fn pin(&self) -> Option<&PinAttribute> {
        self.pin.as_ref()
    }

    /// The part that selects the token, for error messages.
    pub(super) fn token_only(&self) -> Self {
        Self {
            token: self.token.clone(),
            slot: self.slot.clone(),
            library: self.library.clone(),
            ..Self::default()
        }
    }

    /// The part that selects the module and the token, without object and PIN.
    pub(super) fn module_and_token(&self) -> Self {
        Self {
            module_name: self.module_name.clone(),
            module_path: self.module_path.clone(),
            ..self.token_only()
        }
    }

    fn path_attributes(&self) -> Vec<(&'static str, String)> {
        let text = |value: &Option<String>| value.as_ref().map(|value| encode(value.as_bytes()));
        let version = |(major, minor)| format!("{major}.{minor}");
        let attributes = [
            ("token", text(&self.token.label)),
            ("manufacturer", text(&self.token.manufacturer)),
            ("serial", text(&self.token.serial)),
            ("model", text(&self.token.model)),
            ("library-manufacturer", text(&self.library.manufacturer)),
            ("library-version", self.library.version.map(version)),
            ("library-description", text(&self.library.description)),
            ("slot-manufacturer", text(&self.slot.manufacturer)),
            ("slot-description", text(&self.slot.description)),
            ("slot-id", self.slot.id.map(|id| id.to_string())),
            ("object", text(&self.object)),
            ("type", self.kind.map(|kind| kind.name().to_owned())),
            ("id", self.id.as_deref().map(encode_all)),
        ];
        present(attributes)
    }

    fn query_attributes(&self) -> Vec<(&'static str, String)> {
        let path = self.module_path.as_ref().map(|path| path.to_string_lossy());
        let source = match &self.pin {
            Some(PinAttribute::Source(source)) => Some(encode_query(source)),
            Some(PinAttribute::Value(_)) | None => None,
        };
        let attributes = [
            ("module-name", self.module_name.as_deref().map(encode_query)),
            ("module-path", path.as_deref().map(encode_query)),
            ("pin-source", source),
        ];
        present(attributes)
    }
}

impl fmt::Display for Uri {
    /// Writes the URI without a `pin-value`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pkcs11:")?;
        write_list(f, &self.path_attributes(), ";")?;
        let query = self.query_attributes();
        if !query.is_empty() {
            f.write_str("?")?;
            write_list(f, &query, "&")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Uri").field(&self.to_string()).finish()
    }
}

impl ObjectKind {
    const ALL: [Self; 5] = [
        Self::Certificate,
        Self::Data,
        Self::PrivateKey,
        Self::PublicKey,
        Self::SecretKey,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Certificate => "cert",
            Self::Data => "data",
            Self::PrivateKey => "private",
            Self::PublicKey => "public",
            Self::SecretKey => "secret-key",
        }
    }
}

fn present<const N: usize>(
    attributes: [(&'static str, Option<String>); N],
) -> Vec<(&'static str, String)> {
    attributes
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn write_list(
    f: &mut fmt::Formatter<'_>,
    attributes: &[(&str, String)],
    separator: &str,
) -> fmt::Result {
    for (index, (name, value)) in attributes.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{name}={value}")?;
    }
    Ok(())
}

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const QUERY: &AsciiSet = &UNRESERVED.remove(b'/').remove(b':').remove(b'|');

fn encode(value: &[u8]) -> String {
    percent_encode(value, UNRESERVED).to_string()
}

fn encode_query(value: &str) -> String {
    percent_encode(value.as_bytes(), QUERY).to_string()
}

/// Encodes every byte of an id, as the RFC recommends.
fn encode_all(value: &[u8]) -> String {
    value.iter().copied().map(percent_encode_byte).collect()
}
