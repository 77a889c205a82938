//! Bytes that are not the DER of the certificate which the enrolled root signed.

use super::der::{Authority, Draft, ECDSA_SHA256, Key, common_name, pem, signed, tlv};
use super::{Chain, compare, enroll};
use crate::common::Dps;

fn device() -> Draft {
    Draft::device(common_name("dev-1"))
}

/// Changes of the bytes of a genuine certificate.
fn changed_bytes(root: &Authority, key: &Key) -> Vec<(&'static str, Vec<u8>)> {
    let genuine = device().sign(key, root);
    let other = Draft::device(common_name("dev-2")).sign(key, root);
    let (content, signature) = parts(&genuine);
    let (_, signature_of_other) = parts(&other);
    let with = |signature: &[u8]| signed(&content, ECDSA_SHA256, signature);
    let raw = |signature: &[u8]| {
        let parts = [&content, ECDSA_SHA256, &tlv(0x03, signature)];
        tlv(0x30, &parts.concat())
    };
    let integers = |r: &[u8], s: &[u8]| {
        let numbers = [tlv(0x02, r), tlv(0x02, s)];
        tlv(0x30, &numbers.concat())
    };
    // The order of P-256: r and s must be below it (FIPS 186-5, 6.4.2).
    const ORDER: &[u8] = b"\0\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
        \xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";
    vec![
        (
            "the signature of another certificate",
            with(&signature_of_other),
        ),
        ("an empty signature", with(b"")),
        ("a signature of zeros", with(&integers(b"\0", b"\0"))),
        ("a signature with r = 0", with(&integers(b"\0", b"\x01"))),
        ("a signature with s = 0", with(&integers(b"\x01", b"\0"))),
        ("a signature of ones", with(&integers(b"\x01", b"\x01"))),
        ("a signature of the order", with(&integers(ORDER, ORDER))),
        (
            "a signature of negative numbers",
            with(&integers(b"\xff", b"\xff")),
        ),
        ("a signature of 64 zeros", with(&[0; 64])),
        (
            "bytes after the signature",
            with(&[&signature[..], b"\0"].concat()),
        ),
        (
            "a signature with unused bits",
            raw(&[b"\x01", &signature[..]].concat()),
        ),
        ("a signature as an octet string", {
            let parts = [&content, ECDSA_SHA256, &tlv(0x04, &signature)];
            tlv(0x30, &parts.concat())
        }),
        (
            "bytes after the certificate",
            [&genuine[..], b"\0\0"].concat(),
        ),
        (
            "two certificates in one",
            [genuine.clone(), other.clone()].concat(),
        ),
        ("the content alone", content.clone()),
        ("a part after the signature", {
            let signature = tlv(0x03, &[b"\0", &signature[..]].concat());
            tlv(
                0x30,
                &[&content, ECDSA_SHA256, &signature, b"\x05\0"].concat(),
            )
        }),
        ("an indefinite length", {
            let value = &genuine[4..];
            [b"\x30\x80", value, b"\0\0"].concat()
        }),
        ("a length with a zero before it", {
            let [high, low] = [genuine[2], genuine[3]];
            [&[0x30, 0x83, 0, high, low], &genuine[4..]].concat()
        }),
        ("another name in the content", {
            let at = position(&genuine, b"dev-1");
            let mut changed = other.clone();
            let place = position(&changed, b"dev-2");
            changed[place..place + 5].copy_from_slice(&genuine[at..at + 5]);
            changed
        }),
        ("a later end in the content", {
            let mut draft = device();
            draft.validity[1] = "210101000000Z";
            let mut changed = draft.sign(key, root);
            let place = position(&changed, b"210101000000Z");
            changed[place..place + 2].copy_from_slice(b"49");
            changed
        }),
        ("another key in the content", {
            // The key of the attacker in the certificate of the device.
            let (victim, mut changed) = (Key::new(), Vec::new());
            let theirs = device().sign(&victim, root);
            let (start, own) = (position(&theirs, POINT), position(&genuine, POINT));
            changed.extend_from_slice(&theirs);
            let length = POINT.len() + 64;
            changed[start..start + length].copy_from_slice(&genuine[own..own + length]);
            changed
        }),
    ]
}

/// The start of a P-256 key that is not compressed.
const POINT: &[u8] = b"\x03\x42\x00\x04";

fn position(bytes: &[u8], part: &[u8]) -> usize {
    let mut windows = bytes.windows(part.len());
    windows.position(|window| window == part).expect("there")
}

/// The content and the signature of a certificate with lengths of two bytes.
fn parts(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let content = usize::from(u16::from_be_bytes([der[6], der[7]]));
    let content = der[4..8 + content].to_vec();
    let signature = der[4 + content.len() + ECDSA_SHA256.len() + 3..].to_vec();
    (content, signature)
}

/// OpenSSL reads BER, and ignores bytes after a certificate in PEM.
const BER: [&str; 4] = [
    "bytes after the certificate",
    "two certificates in one",
    "an indefinite length",
    "a length with a zero before it",
];

#[tokio::test]
async fn no_changed_certificate_registers_a_device() {
    let dps = Dps::start().await;
    let root = Authority::root("Contoso Root");
    enroll(&dps, "root", &root.pem).await;
    let key = Key::new();
    let changed = changed_bytes(&root, &key).into_iter();
    let chain = |(name, der): (&'static str, Vec<u8>)| {
        let chain = Chain::new(name, (pem(&der), key.pem.clone()), &[]);
        match BER.contains(&name) {
            true => chain.that_openssl_accepts(),
            false => chain,
        }
    };
    let forgeries: Vec<Chain> = changed.map(chain).collect();
    let genuine = Chain::new("genuine", root.device(device()), &[]);
    compare(&dps, &root.pem, &forgeries, &[genuine]).await;
}
