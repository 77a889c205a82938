//! Distinguished names: the common name, and the text that .NET and therefore the service writes.

use data_encoding::HEXUPPER;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::{rfc3280, rfc4519};
use x509_cert::der::{Encode, Tag, Tagged};
use x509_cert::name::Name;

/// The attributes that .NET writes with a name. Others appear as `OID.1.2.3`.
const KEYWORDS: [(ObjectIdentifier, &str); 14] = [
    (rfc4519::COMMON_NAME, "CN"),
    (rfc4519::SURNAME, "SN"),
    (rfc4519::SERIAL_NUMBER, "SERIALNUMBER"),
    (rfc4519::COUNTRY_NAME, "C"),
    (rfc4519::LOCALITY_NAME, "L"),
    (rfc4519::ST, "S"),
    (rfc4519::STREET, "STREET"),
    (rfc4519::ORGANIZATION_NAME, "O"),
    (rfc4519::ORGANIZATIONAL_UNIT_NAME, "OU"),
    (rfc4519::TITLE, "T"),
    (rfc4519::GIVEN_NAME, "G"),
    (rfc4519::INITIALS, "I"),
    (rfc4519::DOMAIN_COMPONENT, "DC"),
    (rfc3280::EMAIL_ADDRESS, "E"),
];

/// Returns the last common name, which is the most specific one. A set of several common names has no order, so that none
/// of them counts.
///
/// .NET's `X509Certificate2.GetNameInfo(X509NameType.SimpleName, false)` chooses the same one: it searches the subject
/// from its end and stops at the first common name.
pub(super) fn common_name(name: &Name) -> Option<String> {
    let mut sets: Vec<Vec<&AttributeTypeAndValue>> = name
        .iter_rdn()
        .map(|set| {
            let names = set.iter();
            names.filter(|it| it.oid == rfc4519::COMMON_NAME).collect()
        })
        .collect();
    sets.retain(|names| !names.is_empty());
    match sets.last()?.as_slice() {
        [name] => Some(text(name)),
        _ => None,
    }
}

/// Writes the name as .NET does, with the most specific part first: `CN=device-1, O="Contoso, Inc.", C=US`.
pub(super) fn display(name: &Name) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|part| part.iter().map(pair).collect::<Vec<_>>().join(" + "))
        .collect();
    parts.reverse();
    parts.join(", ")
}

fn pair(attribute: &AttributeTypeAndValue) -> String {
    let value = quoted(text(attribute));
    let keyword = KEYWORDS.iter().find(|(oid, _)| *oid == attribute.oid);
    match keyword {
        Some((_, keyword)) => format!("{keyword}={value}"),
        None => format!("OID.{}={value}", attribute.oid),
    }
}

fn quoted(value: String) -> String {
    let plain = !value.is_empty()
        && value.trim() == value
        && !value.contains([',', '+', '=', '"', '\n', '<', '>', '#', ';']);
    match plain {
        true => value,
        false => format!("\"{}\"", value.replace('"', "\"\"")),
    }
}

fn text(attribute: &AttributeTypeAndValue) -> String {
    let value = attribute.value.value();
    match attribute.value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::VisibleString
        | Tag::NumericString => String::from_utf8_lossy(value).into_owned(),
        Tag::TeletexString => value.iter().copied().map(char::from).collect(),
        Tag::BmpString => {
            let units = value.chunks(2).map(|pair| {
                pair.iter()
                    .fold(0, |unit, byte| unit << 8 | u16::from(*byte))
            });
            char::decode_utf16(units)
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => {
            let der = attribute.value.to_der().unwrap_or_default();
            format!("#{}", HEXUPPER.encode(&der))
        }
    }
}
