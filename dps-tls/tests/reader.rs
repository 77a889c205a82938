//! Files of certificates and keys as Windows, YAML, environment variables and `cat` leave them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use dps_tls::{
    ErrorKind, Roots, certified_key, read_certificates, read_chain, read_key,
    read_padded_certificates,
};
use proptest::prelude::*;
use rustls_pki_types::CertificateDer;

const EC: &str = include_str!("keys/ec-certificate.pem");
const EC_KEY: &str = include_str!("keys/ec-sec1.pem");
const RSA: &str = include_str!("keys/rsa-certificate.pem");
const RSA_KEY: &str = include_str!("keys/rsa-pkcs8.pem");
const PARAMETERS_AND_KEY: &str = include_str!("keys/ec-sec1-with-parameters.pem");
const VERSION_1: &str = include_str!("files/version-1.pem");
const VERSION_1_KEY: &str = include_str!("files/version-1-key.pem");
const TRUSTED: &str = include_str!("files/trusted.pem");
const REJECTING: &str = include_str!("files/rejecting.pem");
const REQUEST: &str = include_str!("files/request.pem");
const PUBLIC_KEY: &str = include_str!("files/public.pem");
const OPENSSH: &str = include_str!("files/openssh.pem");
const DSA: &str = include_str!("files/dsa.pem");
const PFX: &[u8] = include_bytes!("files/device.pfx");
const P7B: &[u8] = include_bytes!("files/device.p7b");

fn certificate(pem: &str) -> CertificateDer<'static> {
    read_certificates(pem.as_bytes()).unwrap().remove(0)
}

fn base64_lines(pem: &str) -> String {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn harmless_forms_of_two_certificates_are_read_in_full() {
    let both = format!("{EC}{RSA}");
    let expected = [certificate(EC), certificate(RSA)];
    let der = [&expected[0][..], &expected[1]].concat();
    let indented = both.replace('\n', "\n      ");
    for (form, input) in [
        ("as OpenSSL writes them", both.clone()),
        (
            "blocks that share a line",
            format!("{}{RSA}", EC.trim_end()),
        ),
        ("line ends of Windows", both.replace('\n', "\r\n")),
        ("line ends of old Macs", both.replace('\n', "\r")),
        ("no line ends", both.replace('\n', "")),
        ("spaces for line ends", both.replace('\n', " ")),
        ("line ends written out", both.replace('\n', "\\n")),
        (
            "line ends of Windows written out",
            both.replace('\n', "\\r\\n"),
        ),
        ("a byte order mark", format!("\u{feff}{both}")),
        ("indented", format!("      {indented}")),
        ("tabs and blank lines", both.replace('\n', "\t\n\n")),
        (
            "an old label",
            both.replace(" CERTIFICATE", " X509 CERTIFICATE"),
        ),
        (
            "text between the blocks",
            format!(
                "Bag Attributes\n    localKeyID: 54 69 6D\n{EC}issuer=CN = root\n=====\n{RSA}end"
            ),
        ),
        (
            "a key and parameters between",
            format!("{EC}{PARAMETERS_AND_KEY}{RSA}"),
        ),
        ("base64 of PEM", base64(both.as_bytes())),
        ("base64 of DER", base64(&der)),
    ] {
        assert_eq!(
            read_certificates(input.as_bytes()).unwrap(),
            expected,
            "{form}"
        );
        assert_eq!(read_chain(input.as_bytes()).unwrap(), expected, "{form}");
        assert!(Roots::from_pem(input).is_ok(), "{form}");
    }
    assert_eq!(read_chain(&der).unwrap(), expected, "DER");
    assert_eq!(
        read_chain(base64_lines(EC).as_bytes()).unwrap(),
        expected[..1]
    );
    assert_eq!(
        read_chain(base64_lines(EC).replace('\n', "\\n").as_bytes()).unwrap(),
        expected[..1]
    );
}

#[test]
fn harmless_forms_of_a_key_are_read() {
    let key = read_key(EC_KEY.as_bytes()).unwrap();
    for input in [
        EC_KEY.replace('\n', "\r\n"),
        EC_KEY.replace('\n', "\\n"),
        EC_KEY.replace('\n', ""),
        EC_KEY.replace('\n', "\n\t"),
        format!("\u{feff}{EC}{EC_KEY}{RSA}"),
        format!("{}{EC_KEY}", EC.trim_end()),
        format!("{EC_KEY}{EC_KEY}"),
        base64_lines(EC_KEY),
        base64(EC_KEY.as_bytes()),
        PARAMETERS_AND_KEY.to_owned(),
    ] {
        assert_eq!(read_key(input.as_bytes()).unwrap(), key, "{input}");
    }
}

#[test]
fn a_trusted_certificate_is_read_unless_it_rejects_uses() {
    let plain = certificate(TRUSTED);
    assert_eq!(read_chain(TRUSTED.as_bytes()).unwrap(), [plain]);
    assert_refused(
        REJECTING.as_bytes(),
        ErrorKind::UnsupportedFormat,
        &["rejects some uses", "openssl x509 -in"],
    );
}

#[test]
fn files_of_other_kinds_are_refused_with_the_command_that_converts_them() {
    let utf16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        "\u{feff}"
            .encode_utf16()
            .chain(EC.encode_utf16())
            .flat_map(bytes)
            .collect()
    };
    let p7b = pem("PKCS7", P7B);
    for (input, words) in [
        (PFX.to_vec(), ["PKCS#12", "openssl pkcs12 -in FILE -nodes"]),
        (base64(PFX).into_bytes(), ["PKCS#12", "openssl pkcs12"]),
        (
            P7B.to_vec(),
            ["PKCS#7", "openssl pkcs7 -inform DER -print_certs"],
        ),
        (
            p7b.clone().into_bytes(),
            ["(line 1)", "openssl pkcs7 -print_certs"],
        ),
        (
            format!("{EC}{p7b}").into_bytes(),
            ["PKCS#7", "openssl pkcs7 -print_certs"],
        ),
        (
            utf16(u16::to_le_bytes),
            ["UTF-16", "iconv -f UTF-16 -t UTF-8"],
        ),
        (utf16(u16::to_be_bytes), ["PowerShell", "Set-Content"]),
        (utf16(u16::to_le_bytes)[2..].to_vec(), ["UTF-16", "iconv"]),
        (
            b"\xfe\xed\xfe\xed\0\0\0\x02".to_vec(),
            ["Java keystore", "keytool"],
        ),
        (OPENSSH.into(), ["OpenSSH", "ssh-keygen -p -m PEM"]),
    ] {
        assert_refused(&input, ErrorKind::UnsupportedFormat, &words);
        let error = read_key(&input).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{error}");
    }
}

#[test]
fn damaged_chains_are_refused_with_the_place() {
    let half = &EC[..EC.len() / 2];
    let wrong_label = RSA.replace("END CERTIFICATE", "END TRUSTED CERTIFICATE");
    for (input, words) in [
        (half.to_owned(), ["begins in line 1", "no END line"]),
        (
            format!("{half}\n{RSA}"),
            ["begins in line 1", "no END line"],
        ),
        (
            format!("# comment\n{half}"),
            ["begins in line 2", "truncated"],
        ),
        (
            wrong_label,
            ["begins in line 1", "ends as TRUSTED CERTIFICATE"],
        ),
        (
            EC.replace("-----BEGIN", "----BEGIN"),
            ["line 1", "five hyphens"],
        ),
        (
            EC.replace("CERTIFICATE-----\nMI", "CERTIFICATE----\nMI"),
            ["line 1", "five hyphens"],
        ),
        (
            EC.replace("-----BEGIN", "\u{2013}BEGIN"),
            ["line 1", "five hyphens"],
        ),
        (
            format!("{RSA}{}", EC.replace("-----BEGIN", "BEGIN")),
            ["damaged", "five hyphens"],
        ),
        (
            format!("{EC}{}-----END CERTIFICATE-----\n", base64_lines(RSA)),
            ["base64 outside", "line"],
        ),
        (
            format!("{EC}-----END CERTIFICATE-----\n"),
            ["stands alone", "line"],
        ),
        (
            format!("{EC}{}", base64_lines(RSA)),
            ["base64 outside", "line"],
        ),
        (
            EC.replace("-----BEGIN CERTIFICATE", "-----BEGIN%20CERTIFICATE"),
            ["line 1", "damaged"],
        ),
        (
            EC.replace("CERTIFICATE", "CERTIFICAT"),
            ["(line 1)", "\"CERTIFICAT\""],
        ),
        (EC.replacen("MI", "M!", 1), ["line 2", "not base64"]),
        (
            EC.replacen("MI", "M", 1),
            ["begins in line 1", "not base64"],
        ),
        (
            EC.replacen("MI", "MA", 1),
            ["CERTIFICATE block (line 1)", "damaged DER"],
        ),
        (pem("CERTIFICATE", P7B), ["PKCS#7", "openssl pkcs7"]),
        (
            EC_KEY.replace("EC PRIVATE KEY", "CERTIFICATE"),
            ["does not hold a certificate", "a private key"],
        ),
        (
            pem("CERTIFICATE", &[&certificate(EC)[..], b"\0\0"].concat()),
            ["(line 1)", "damaged DER"],
        ),
        ("hello, world".to_owned(), ["neither PEM", "DER"]),
        ("{\"certificate\":1}".to_owned(), ["neither PEM", "base64"]),
    ] {
        let error = read_chain(input.as_bytes()).expect_err(&input);
        for word in words {
            assert!(error.to_string().contains(word), "{error}: {word}\n{input}");
        }
        assert!(Roots::from_pem(&input).is_err(), "{input}");
    }
    let der = certificate(EC);
    for (input, words) in [
        (der[..100].to_vec(), "the DER is truncated"),
        ([&der[..], b"\n"].concat(), "1 bytes follow object 1"),
        (
            [&der[..], &der[..100]].concat(),
            "100 bytes follow object 1",
        ),
    ] {
        assert_refused(&input, ErrorKind::MalformedCertificate, &[words]);
    }
}

#[test]
fn another_object_than_a_certificate_is_named() {
    for (input, words) in [
        ("", "the input is empty"),
        (" \r\n\t", "the input is empty"),
        ("\u{feff}", "the input is empty"),
        (
            EC_KEY,
            "a private key (line 1): check that the files are not exchanged",
        ),
        (REQUEST, "a certificate request (line 1): have a CA sign it"),
        (PUBLIC_KEY, "a public key (line 1)"),
        (DSA, "a DSA private key (line 1)"),
    ] {
        assert_refused(input.as_bytes(), ErrorKind::NoCertificate, &[words]);
    }
}

#[test]
fn another_object_than_one_private_key_is_named() {
    let two = format!("{EC_KEY}{RSA_KEY}");
    for (input, kind, words) in [
        ("", ErrorKind::NoKey, "the input is empty"),
        (
            EC,
            ErrorKind::NoKey,
            "a certificate (line 1): check that the files are not exchanged",
        ),
        (REQUEST, ErrorKind::NoKey, "a certificate request (line 1)"),
        (
            PUBLIC_KEY,
            ErrorKind::NoKey,
            "a public key (line 1): use the file with the private key",
        ),
        (DSA, ErrorKind::UnsupportedKey, "use ECDSA"),
        (
            &two,
            ErrorKind::MalformedKey,
            "more than one private key, the first (line 1) and another (line 6)",
        ),
    ] {
        let error = read_key(input.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn version_1_is_read_and_an_identity_requires_version_3() {
    let chain = read_chain(VERSION_1.as_bytes()).unwrap();
    assert!(Roots::from_pem(VERSION_1).is_ok());
    let key = read_key(VERSION_1_KEY.as_bytes()).unwrap();
    let error = certified_key(chain, key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MalformedCertificate);
    for words in ["version 1", "openssl x509 -req", "-extfile"] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

fn white_space() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec!["\n", "\r\n", "\r", " ", "\t", "\\n", "\\r\\n", ""]);
    prop::collection::vec(pieces, 0..3).prop_map(|pieces| pieces.concat())
}

/// More files as people send them: some harmless, some not.
#[test]
fn other_files_of_users_are_read_or_refused() {
    let ec = [certificate(EC)];
    let openssl_text = format!(
        "Certificate:\n    Data:\n        Version: 3 (0x2)\n        Serial Number:\n            04:00:00\n    Signature \
         Value:\n        30:45:02:21\n-BEGIN of nothing\n{EC}"
    );
    for (what, input) in [
        ("the output of openssl x509 -text", openssl_text),
        (
            "a comment that begins with a hash sign",
            format!("# BEGIN my device\n{EC}# END my device\n"),
        ),
        (
            "a fingerprint",
            format!("SHA1 Fingerprint=AA:BB\n{}\n{EC}", "ab12".repeat(16)),
        ),
        (
            "quotes around it",
            format!("\"{}\"", EC.replace('\n', "\\n")),
        ),
        (
            "a YAML block",
            format!("cert: |\n  {}", EC.replace('\n', "\n  ")),
        ),
        ("white space at both ends", format!("\n\n \t{EC}\n\n")),
        ("a separator line", format!("{}\n{EC}", "=".repeat(64))),
        ("Latin-1 in a comment", format!("# Ger\u{e4}t\n{EC}")),
    ] {
        assert_eq!(read_chain(input.as_bytes()).expect(what), ec, "{what}");
    }
    for (what, input) in [
        (
            "percent-encoded",
            EC.replace(' ', "%20").replace('\n', "%0A"),
        ),
        ("HTML", "<html><body>403 Forbidden</body></html>".to_owned()),
        (
            "a path in place of the file",
            "/etc/ssl/certs/device.pem".to_owned(),
        ),
        (
            "quoted lines of source code",
            EC.lines().map(|line| format!("\"{line}\\n\"\n")).collect(),
        ),
        ("an ellipsis", EC.replace("MII", "MII...")),
        (
            "diff markers",
            EC.lines().map(|line| format!("> {line}\n")).collect(),
        ),
    ] {
        let error = read_chain(input.as_bytes()).expect_err(what);
        assert_eq!(
            error.kind(),
            ErrorKind::MalformedCertificate,
            "{what}: {error}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn base64_may_be_split_anywhere(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), white_space()), 0..20),
        key_first in any::<bool>(),
        between in prop::sample::select(vec!["", "\n", "# a comment\n", "\r\n\r\n", "subject=CN = a\r\n"]),
    ) {
        let split = |pem: &str| {
            let mut body = base64_lines(pem).replace('\n', "");
            for (cut, space) in &cuts {
                body.insert_str(cut.index(body.len() + 1), space);
            }
            // A backslash that an inserted piece separated from its letter is not white space.
            let lines: Vec<_> = pem.lines().collect();
            format!("{}{body}{}", lines[0], lines[lines.len() - 1])
        };
        let input = match key_first {
            true => [split(EC_KEY), split(EC), split(RSA)],
            false => [split(EC), split(RSA), split(EC_KEY)],
        }.join(between);
        let is_sound = !cuts.iter().any(|(_, space)| space.contains('\\'));
        match read_certificates(input.as_bytes()) {
            Ok(read) => prop_assert_eq!(read, [certificate(EC), certificate(RSA)]),
            Err(error) => prop_assert!(!is_sound, "{}\n{}", error, input),
        }
        match read_key(input.as_bytes()) {
            Ok(read) => prop_assert_eq!(read, read_key(EC_KEY.as_bytes()).unwrap()),
            Err(error) => prop_assert!(!is_sound, "{}\n{}", error, input),
        }
    }

    #[test]
    fn no_certificate_is_lost_silently(
        cut in any::<prop::sample::Index>(), length in 0_usize..60, with in "[-A-Z \n]{0,4}",
    ) {
        let both = format!("{EC}{RSA}");
        let start = cut.index(both.len());
        let end = (start + length).min(both.len());
        let damaged = format!("{}{with}{}", &both[..start], &both[end..]);
        if let Ok(read) = read_certificates(damaged.as_bytes()) {
            prop_assert_eq!(read.len(), 2, "{}", damaged);
        }
    }

    #[test]
    fn any_input_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "(-----BEGIN |-----END |CERTIFICATE|-----|M|=|\n|\\PC){0,40}") {
        for input in [&bytes[..], text.as_bytes()] {
            let _ = read_certificates(input);
            let _ = read_key(input);
        }
    }
}

#[track_caller]
fn assert_refused(input: &[u8], kind: ErrorKind, words: &[&str]) {
    let error = read_chain(input).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{error}");
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}-----END {label}-----\n",
        base64(der)
    )
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let lines = text.as_bytes().chunks(64);
    lines
        .map(|line| format!("{}\n", str::from_utf8(line).unwrap()))
        .collect()
}

#[test]
fn certificates_in_a_memory_of_fixed_size_are_read_without_the_filling() {
    let both = [certificate(EC), certificate(RSA)];
    let der = [&both[0][..], &both[1]].concat();
    for filling in [&[][..], &[0xff; 300], &[0; 300], &[0xff]] {
        let content = [&der[..], filling].concat();
        assert_eq!(read_padded_certificates(&content).unwrap(), both);
    }
}

#[test]
fn other_content_of_a_memory_is_refused() {
    let der = certificate(EC).to_vec();
    let key = read_key(EC_KEY.as_bytes()).unwrap().secret_der().to_vec();
    for (content, kind) in [
        (Vec::new(), ErrorKind::NoCertificate),
        (vec![0xff; 2048], ErrorKind::NoCertificate),
        (vec![0; 2048], ErrorKind::NoCertificate),
        (EC.as_bytes().to_vec(), ErrorKind::MalformedCertificate),
        (
            der[..der.len() - 1].to_vec(),
            ErrorKind::MalformedCertificate,
        ),
        (
            [&der[..], &[0xff, 0]].concat(),
            ErrorKind::MalformedCertificate,
        ),
        (
            [&der[..], b"text"].concat(),
            ErrorKind::MalformedCertificate,
        ),
        (
            [&der[..], &[0x30, 0]].concat(),
            ErrorKind::MalformedCertificate,
        ),
        (
            [&[0xff][..], &der].concat(),
            ErrorKind::MalformedCertificate,
        ),
        (key, ErrorKind::MalformedCertificate),
    ] {
        let error = read_padded_certificates(&content).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}
