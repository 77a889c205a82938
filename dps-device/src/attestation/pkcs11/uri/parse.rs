//! Parses a PKCS#11 URI by the grammar of RFC 7512, section 2.3.

use std::collections::HashSet;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::{ObjectKind, PinAttribute, Uri};
use crate::error::Error;

const SCHEME: &str = "pkcs11:";
/// The characters that need no encoding in a value, in addition to letters and digits.
const IN_ANY_VALUE: &[u8] = b"-._~:[]@!$'()*+,=";
const IN_PATH: &[u8] = b"&";
const IN_QUERY: &[u8] = b"/?|";

impl FromStr for Uri {
    type Err = Error;

    /// Parses strictly. An error contains the names of attributes, but never a value, which may be a PIN.
    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = match text.split_at_checked(SCHEME.len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => rest,
            _ => return Err(invalid("it does not start with pkcs11:")),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let mut uri = Self::default();
        if !path.is_empty() {
            for (name, value) in attributes(path, ';', IN_PATH)? {
                uri.set_in_path(name, value)?;
            }
        }
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            for (name, value) in attributes(query, '&', IN_QUERY)? {
                uri.set_in_query(name, value)?;
            }
        }
        Ok(uri)
    }
}

impl Uri {
    fn set_in_path(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let of_text = match name {
            "token" => &mut self.token.label,
            "manufacturer" => &mut self.token.manufacturer,
            "model" => &mut self.token.model,
            "serial" => &mut self.token.serial,
            "slot-description" => &mut self.slot.description,
            "slot-manufacturer" => &mut self.slot.manufacturer,
            "library-description" => &mut self.library.description,
            "library-manufacturer" => &mut self.library.manufacturer,
            "object" => &mut self.object,
            "id" => {
                self.id = Some(percent_decode_str(value).collect());
                return Ok(());
            }
            "slot-id" => {
                let id = number(value).ok_or_else(|| wrong(name, "is not a valid number"))?;
                self.slot.id = Some(id);
                return Ok(());
            }
            "library-version" => {
                self.library.version = Some(version(value)?);
                return Ok(());
            }
            "type" => {
                let kind = ObjectKind::ALL
                    .into_iter()
                    .find(|kind| kind.name() == value);
                let unknown = || wrong(name, "must be cert, data, private, public or secret-key");
                self.kind = Some(kind.ok_or_else(unknown)?);
                return Ok(());
            }
            _ => return Ok(()),
        };
        *of_text = Some(text(name, value)?);
        Ok(())
    }

    fn set_in_query(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match name {
            "module-name" => self.module_name = Some(module_name(text(name, value)?)?),
            "module-path" => self.module_path = Some(text(name, value)?.into()),
            "pin-source" => self.set_pin(PinAttribute::Source(text(name, value)?))?,
            "pin-value" => {
                self.set_pin(PinAttribute::Value(Zeroizing::new(text(name, value)?)))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn set_pin(&mut self, pin: PinAttribute) -> Result<(), Error> {
        match self.pin.replace(pin) {
            Some(_) => Err(invalid("it has both pin-source and pin-value")),
            None => Ok(()),
        }
    }
}

/// The names and the values, which are still encoded. An attribute of the RFC must not be repeated; a vendor's may be repeated in
/// the query.
fn attributes<'a>(
    list: &'a str,
    separator: char,
    also_allowed: &[u8],
) -> Result<Vec<(&'a str, &'a str)>, Error> {
    let mut seen = HashSet::new();
    let mut read = |attribute: &'a str| {
        let (name, value) = attribute
            .split_once('=')
            .ok_or_else(|| invalid("an attribute has no '='"))?;
        let in_name = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if name.is_empty() || !name.bytes().all(in_name) {
            return Err(invalid("the name of an attribute is malformed"));
        }
        check_characters(name, value, also_allowed)?;
        let may_repeat = separator == '&' && !IN_QUERY_ONCE.contains(&name);
        if !seen.insert(name) && !may_repeat {
            return Err(wrong(name, "occurs twice"));
        }
        Ok((name, value))
    };
    list.split(separator).map(&mut read).collect()
}

const IN_QUERY_ONCE: [&str; 4] = ["module-name", "module-path", "pin-source", "pin-value"];

fn check_characters(name: &str, value: &str, also_allowed: &[u8]) -> Result<(), Error> {
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let allowed = match byte {
            b'%' => {
                let mut digit = || bytes.next().is_some_and(|digit| digit.is_ascii_hexdigit());
                if !(digit() && digit()) {
                    return Err(wrong(name, "has a % without two hexadecimal digits"));
                }
                true
            }
            _ => {
                byte.is_ascii_alphanumeric()
                    || IN_ANY_VALUE.contains(&byte)
                    || also_allowed.contains(&byte)
            }
        };
        if !allowed {
            return Err(wrong(name, "has a character that must be percent-encoded"));
        }
    }
    Ok(())
}

fn text(name: &str, value: &str) -> Result<String, Error> {
    match String::from_utf8(percent_decode_str(value).collect()) {
        Ok(text) if text.contains('\0') => Err(wrong(name, "has a zero byte")),
        Ok(text) => Ok(text),
        // The bytes may be a PIN, so they are wiped and kept out of the error.
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(wrong(name, "is not UTF-8"))
        }
    }
}

/// Parses digits only, because `parse` would accept a sign.
fn number<N: FromStr>(value: &str) -> Option<N> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| value.parse().ok()).flatten()
}

fn version(value: &str) -> Result<(u8, u8), Error> {
    let (major, minor) = value.split_once('.').unwrap_or((value, "0"));
    number(major)
        .zip(number(minor))
        .ok_or_else(|| wrong("library-version", "is not a valid version, such as 2.40"))
}

fn module_name(name: String) -> Result<String, Error> {
    if name.is_empty() || name.contains(['/', '\\']) {
        return Err(wrong(
            "module-name",
            "is not a file name; use module-path for a path",
        ));
    }
    Ok(name)
}

fn wrong(name: &str, what: &str) -> Error {
    invalid(&format!("{name} {what}"))
}

fn invalid(what: &str) -> Error {
    Error::configuration(format!("invalid PKCS#11 URI: {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn the_examples_of_the_rfc_are_parsed() {
        // RFC 7512, section 3, in the RFC's order, and the text that is written for each.
        for (text, written) in [
            ("pkcs11:", "pkcs11:"),
            (
                "pkcs11:object=my-pubkey;type=public",
                "pkcs11:object=my-pubkey;type=public",
            ),
            (
                "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
                "pkcs11:object=my-key;type=private?pin-source=file:/etc/token",
            ),
            (
                "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;\
                 object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin",
                "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil%2C%20Inc.;serial=;model=1.0;\
                 object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91?pin-source=file:/etc/token_pin",
            ),
            (
                "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11",
                "pkcs11:object=my-sign-key;type=private?module-name=mypkcs11",
            ),
            (
                "pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1",
                "pkcs11:object=my-sign-key;type=private?module-path=/mnt/libmypkcs11.so.1",
            ),
            (
                "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil,%20Inc.?pin-value=the-pin",
                "pkcs11:token=Software%20PKCS%2311%20softtoken;manufacturer=Snake%20Oil%2C%20Inc.",
            ),
            (
                "pkcs11:slot-description=Sun%20Metaslot",
                "pkcs11:slot-description=Sun%20Metaslot",
            ),
            (
                "pkcs11:library-manufacturer=Snake%20Oil,%20Inc.;library-description=Soft%20Token%20Library;library-version=1.23",
                "pkcs11:library-manufacturer=Snake%20Oil%2C%20Inc.;library-version=1.23;library-description=Soft%20Token%20Library",
            ),
            (
                "pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3;id=%01%02%03%Ba%dd%Ca%fe%04%05%06",
                "pkcs11:token=My%20token%25%20created%20by%20Joe;library-version=3.0;id=%01%02%03%BA%DD%CA%FE%04%05%06",
            ),
            (
                "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
                "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my-certificate;type=cert",
            ),
            (
                "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute:%20%C3%A1;object=my-certificate;type=cert",
                "pkcs11:token=Name%20with%20a%20small%20A%20with%20acute%3A%20%C3%A1;object=my-certificate;type=cert",
            ),
            (
                "pkcs11:token=my-token;object=my-certificate;type=cert;vendor-aaa=value-a?pin-source=file:/etc/token_pin\
                 &vendor-bbb=value-b",
                "pkcs11:token=my-token;object=my-certificate;type=cert?pin-source=file:/etc/token_pin",
            ),
            (
                "pkcs11:?pin-source=|/usr/lib/pinomatic",
                "pkcs11:?pin-source=|/usr/lib/pinomatic",
            ),
        ] {
            assert_eq!(read(text).to_string(), written, "{text}");
        }
    }

    #[test]
    fn values_are_decoded() {
        let uri = read("PKCS11:token=%C3%A1;id=%00%ff;object=a%3Bb;slot-id=7?module-path=/a%20b");
        assert_eq!(uri.token(), Some("á"));
        assert_eq!(uri.id(), Some(&[0, 0xff][..]));
        assert_eq!(uri.object(), Some("a;b"));
        assert_eq!(uri.slot.id, Some(7));
        assert_eq!(uri.module_path(), Some("/a b".as_ref()));
    }

    #[test]
    fn invalid_uris_are_refused() {
        for (text, reason) in [
            ("", "does not start"),
            ("pkcs11", "does not start"),
            ("pkcs12:token=a", "does not start"),
            ("pkcs11:token", "no '='"),
            ("pkcs11:token=a;", "no '='"),
            ("pkcs11:;token=a", "no '='"),
            ("pkcs11:=a", "name of an attribute is malformed"),
            ("pkcs11:to%6ben=a", "name of an attribute is malformed"),
            ("pkcs11:token=a;token=a", "token occurs twice"),
            ("pkcs11:x-a=1;x-a=2", "x-a occurs twice"),
            ("pkcs11:?pin-value=1&pin-value=2", "pin-value occurs twice"),
            (
                "pkcs11:?pin-value=1&pin-source=file:/a",
                "both pin-source and pin-value",
            ),
            ("pkcs11:token=a b", "must be percent-encoded"),
            ("pkcs11:token=á", "must be percent-encoded"),
            ("pkcs11:token=a/b", "must be percent-encoded"),
            ("pkcs11:token=a#b", "must be percent-encoded"),
            ("pkcs11:token=%4", "two hexadecimal digits"),
            ("pkcs11:token=%zz", "two hexadecimal digits"),
            ("pkcs11:token=%ff", "is not UTF-8"),
            ("pkcs11:token=%00", "zero byte"),
            ("pkcs11:slot-id=", "slot-id is not a valid number"),
            ("pkcs11:slot-id=+1", "slot-id is not a valid number"),
            (
                "pkcs11:slot-id=99999999999999999999",
                "slot-id is not a valid number",
            ),
            ("pkcs11:library-version=1.2.3", "is not a valid version"),
            ("pkcs11:library-version=256", "is not a valid version"),
            ("pkcs11:library-version=.1", "is not a valid version"),
            ("pkcs11:type=key", "type must be cert"),
            ("pkcs11:?module-name=../a", "module-path"),
            ("pkcs11:?module-name=", "is not a file name"),
        ] {
            let error = text.parse::<Uri>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_pin_is_never_shown() {
        let uri = read("pkcs11:token=a?pin-value=s3cret");
        assert!(!format!("{uri:?} {uri}").contains("s3cret"));

        for text in ["pkcs11:?pin-value=s3cret%ff", "pkcs11:?pin-value=s3cret s"] {
            let error = text.parse::<Uri>().unwrap_err();
            assert!(!format!("{error:?} {error}").contains("s3cret"));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in "(pkcs11:)?\\PC{0,60}") {
            let _ = text.parse::<Uri>();
        }

        #[test]
        fn a_written_uri_is_parsed_to_the_same_uri(
            token in "\\PC{0,20}",
            object in "\\PC{0,20}",
            path in "/\\PC{0,20}",
            id in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut uri = Uri::default().with_object(object.clone()).with_module_path(&path);
            uri.token.label = Some(token.clone());
            uri.id = Some(id.clone());

            let again = read(&uri.to_string());
            prop_assert_eq!(again.token(), Some(token.as_str()));
            prop_assert_eq!(again.object(), Some(object.as_str()));
            prop_assert_eq!(again.id(), Some(id.as_slice()));
            prop_assert_eq!(again.module_path(), Some(path.as_ref()));
            prop_assert_eq!(again.to_string(), uri.to_string());
        }
    }
}
