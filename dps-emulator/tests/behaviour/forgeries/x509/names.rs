//! Subjects that look like `dev-1` and are not, in certificates that the enrolled root signed.

use super::der::{
    ALTERNATIVE_NAME, Attribute, Authority, COMMON_NAME, Draft, ORGANIZATION, PRINTABLE, UTF8,
    common_name, extension, name, tlv,
};
use super::{Chain, compare, enroll};
use crate::common::Dps;

const IA5: u8 = 0x16;
const TELETEX: u8 = 0x14;
const BMP: u8 = 0x1e;
const UNIVERSAL: u8 = 0x1c;

/// Common names, as UTF8String.
const COMMON_NAMES: [(&str, &str); 32] = [
    ("a Cyrillic letter", "d\u{435}v-1"),
    ("a Greek letter", "de\u{3bd}-1"),
    ("a full-width digit", "dev-\u{ff11}"),
    ("a non-breaking hyphen", "dev\u{2011}1"),
    ("a minus sign", "dev\u{2212}1"),
    ("a soft hyphen", "dev\u{ad}-1"),
    ("a zero width space", "dev-1\u{200b}"),
    ("a combining accent", "dev-1\u{301}"),
    ("a change of direction", "\u{202e}1-ved"),
    ("a byte order mark", "\u{feff}dev-1"),
    ("NUL at the end", "dev-1\0"),
    ("NUL and another name", "dev-1\0.example"),
    ("NUL at the start", "\0dev-1"),
    ("NUL inside", "dev\0-1"),
    ("a space at the end", "dev-1 "),
    ("a space at the start", " dev-1"),
    ("a space inside", "dev -1"),
    ("a tab", "dev-1\t"),
    ("a line feed", "dev-1\n"),
    ("a carriage return", "dev-1\r"),
    ("two lines", "dev-2\ndev-1"),
    ("a full stop at the end", "dev-1."),
    ("a slash", "dev-1/"),
    ("a path", "dev-2/../dev-1"),
    ("a second common name in the text", "dev-2,CN=dev-1"),
    ("a multi-valued name in the text", "dev-1+O=Contoso"),
    ("the type in the text", "CN=dev-1"),
    ("quotes", "\"dev-1\""),
    ("percent-encoding", "dev%2D1"),
    ("a wildcard", "dev-*"),
    ("an address", "dev-1@contoso.com"),
    ("no text", ""),
];

fn forgeries(root: &Authority) -> Vec<Chain> {
    let of = |name: &'static str, subject: Vec<u8>| {
        Chain::new(name, root.device(Draft::device(subject)), &[]).that_openssl_accepts()
    };
    // OpenSSL reads the text of names, and refuses what is not of its type.
    let malformed = |name: &'static str, tag: u8, value: &[u8]| {
        let subject = self::name(&[&[(COMMON_NAME, tag, value)]]);
        Chain::new(name, root.device(Draft::device(subject)), &[])
    };
    let cn = |tag: u8, value: &[u8]| self::name(&[&[(COMMON_NAME, tag, value)]]);
    let attribute = |kind: &[u8]| self::name(&[&[(kind, UTF8, b"dev-1")]]);
    let other = |value: &'static [u8]| (COMMON_NAME, UTF8, value);
    let alternative = tlv(0x30, &tlv(0x82, b"dev-1"));
    let elsewhere = Draft::device(common_name("dev-2"));
    let mut chains: Vec<Chain> = COMMON_NAMES
        .iter()
        .map(|(name, text)| of(name, common_name(text)))
        .collect();
    chains.extend([
        of("UTF-32 text", {
            let wide = "dev-1".chars().flat_map(|c| u32::from(c).to_be_bytes());
            cn(UNIVERSAL, &wide.collect::<Vec<_>>())
        }),
        of("UTF-16 text with the bytes swapped", {
            let wide = "dev-1".encode_utf16().flat_map(u16::to_le_bytes);
            cn(BMP, &wide.collect::<Vec<_>>())
        }),
        malformed("Latin-1 in a UTF8String", UTF8, b"dev-1\xe9"),
        malformed("an overlong UTF-8 letter", UTF8, b"\xc1\xa4ev-1"),
        malformed("an octet string", 0x04, b"dev-1"),
        of(
            "two common names, the id first",
            self::name(&[&[other(b"dev-1")], &[other(b"dev-2")]]),
        ),
        of(
            "two common names in one set",
            self::name(&[&[other(b"dev-1"), other(b"dev-2")]]),
        ),
        of(
            "two common names in one set, in the wrong order",
            self::name(&[&[other(b"dev-2"), other(b"dev-1")]]),
        ),
        of("the id as the organization", attribute(ORGANIZATION)),
        of("the id as the unit", attribute(b"\x55\x04\x0b")),
        of("the id as the serial number", attribute(b"\x55\x04\x05")),
        of("the id as the surname", attribute(b"\x55\x04\x04")),
        of("the id as the DN qualifier", attribute(b"\x55\x04\x2e")),
        of(
            "the id as the user id",
            attribute(b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01"),
        ),
        of(
            "a type below the common name",
            attribute(b"\x55\x04\x03\x01"),
        ),
        of(
            "a type next to the common name",
            attribute(b"\x55\x04\x83\x03"),
        ),
        Chain::new(
            "the id as an alternative name",
            root.device(elsewhere.with(extension(ALTERNATIVE_NAME, false, &alternative))),
            &[],
        )
        .that_openssl_accepts(),
    ]);
    chains
}

/// One name in the encodings and spellings that .NET reads as the same text.
fn genuine(root: &Authority) -> Vec<Chain> {
    let of = |name: &'static str, parts: &[&[Attribute<'_>]]| {
        Chain::new(name, root.device(Draft::device(self::name(parts))), &[])
    };
    let wide: Vec<u8> = "dev-1".encode_utf16().flat_map(u16::to_be_bytes).collect();
    vec![
        of("UTF8String", &[&[(COMMON_NAME, UTF8, b"dev-1")]]),
        of("PrintableString", &[&[(COMMON_NAME, PRINTABLE, b"dev-1")]]),
        of("IA5String", &[&[(COMMON_NAME, IA5, b"dev-1")]]),
        of("TeletexString", &[&[(COMMON_NAME, TELETEX, b"dev-1")]]),
        of("BMPString", &[&[(COMMON_NAME, BMP, &wide)]]),
        of("another case", &[&[(COMMON_NAME, UTF8, b"DEV-1")]]),
        of(
            "an organization in the same set",
            &[&[
                (COMMON_NAME, UTF8, b"dev-1"),
                (ORGANIZATION, UTF8, b"Contoso"),
            ]],
        ),
        of(
            "the most specific of two common names",
            &[
                &[(COMMON_NAME, UTF8, b"Devices")],
                &[(COMMON_NAME, UTF8, b"dev-1")],
            ],
        ),
    ]
}

#[tokio::test]
async fn no_look_alike_registers_a_device() {
    let dps = Dps::start().await;
    let root = Authority::root("Contoso Root");
    enroll(&dps, "root", &root.pem).await;
    compare(&dps, &root.pem, &forgeries(&root), &genuine(&root)).await;
}
