//! Reads the attributes of a certificate's subject.

use rcgen::string::Ia5String;
use rcgen::{DistinguishedName, DnType, DnValue};
use x509_cert::der::oid::ObjectIdentifier;

use crate::error::{Error, ErrorKind};

/// The names of attributes, and their object identifiers. Source: RFC 4514, 3; RFC 2985, 5.2.1 for `E`.
const ATTRIBUTES: [(&str, &[u64]); 13] = [
    ("CN", &[2, 5, 4, 3]),
    ("SN", &[2, 5, 4, 4]),
    ("SERIALNUMBER", &[2, 5, 4, 5]),
    ("C", &[2, 5, 4, 6]),
    ("L", &[2, 5, 4, 7]),
    ("ST", &[2, 5, 4, 8]),
    ("STREET", &[2, 5, 4, 9]),
    ("O", &[2, 5, 4, 10]),
    ("OU", &[2, 5, 4, 11]),
    ("T", &[2, 5, 4, 12]),
    ("GN", &[2, 5, 4, 42]),
    ("DC", &[0, 9, 2342, 19200300, 100, 1, 25]),
    ("E", &[1, 2, 840, 113549, 1, 9, 1]),
];

/// A subject of one common name.
pub(crate) fn common_name(common_name: &str) -> Result<DistinguishedName, Error> {
    parse([("CN", common_name)])
}

/// Reads attributes such as `("OU", "Line 1")` or `("2.5.4.11", "Line 1")`, the most general one first.
pub(crate) fn parse<'a>(
    attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<DistinguishedName, Error> {
    let mut subject = DistinguishedName::new();
    for (name, value) in attributes {
        let kind = attribute(name)?;
        if value.is_empty() {
            let what = format!("the subject's attribute {name} is empty: give it a value");
            return Err(invalid(what));
        }
        if subject.get(&kind).is_some() {
            let what = format!("the subject has the attribute {name} twice: give it once");
            return Err(invalid(what));
        }
        let value = match name.to_ascii_uppercase().as_str() {
            "DC" | "E" => DnValue::Ia5String(Ia5String::try_from(value).map_err(|error| {
                invalid(format!("the subject's attribute {name} must be ASCII")).with_source(error)
            })?),
            _ => value.into(),
        };
        subject.push(kind, value);
    }
    match subject.iter().next() {
        Some(_) => Ok(subject),
        None => Err(invalid(
            "a subject requires at least one attribute".to_owned(),
        )),
    }
}

fn attribute(name: &str) -> Result<DnType, Error> {
    let known = ATTRIBUTES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    if let Some((_, oid)) = known {
        return Ok(DnType::from_oid(oid));
    }
    match ObjectIdentifier::new(name) {
        Ok(oid) => {
            let arcs: Vec<u64> = oid.arcs().map(u64::from).collect();
            Ok(DnType::from_oid(&arcs))
        }
        Err(_) => {
            let names = ATTRIBUTES.map(|(name, _)| name).join(", ");
            Err(invalid(format!(
                "'{name}' is not a valid attribute: use one of {names}, or an object identifier such as 2.5.4.11"
            )))
        }
    }
}

fn invalid(what: String) -> Error {
    Error::new(ErrorKind::InvalidName, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_a_name_in_any_case_or_an_object_identifier() {
        for (name, oid) in [
            ("CN", &[2u64, 5, 4, 3][..]),
            ("ou", &[2, 5, 4, 11]),
            ("2.5.4.11", &[2, 5, 4, 11]),
            (
                "1.3.6.1.4.1.311.60.2.1.3",
                &[1, 3, 6, 1, 4, 1, 311, 60, 2, 1, 3],
            ),
        ] {
            assert_eq!(attribute(name).unwrap(), DnType::from_oid(oid), "{name}");
        }
    }

    #[test]
    fn invalid_subjects_are_refused() {
        for (attributes, expected) in [
            (vec![], "at least one attribute"),
            (vec![("CN", "")], "CN is empty"),
            (vec![("XY", "a")], "'XY' is not a valid attribute"),
            (vec![("", "a")], "'' is not a valid attribute"),
            (vec![("OU", "a"), ("2.5.4.11", "b")], "2.5.4.11 twice"),
            (vec![("E", "ä@contoso.com")], "must be ASCII"),
        ] {
            let error = parse(attributes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
