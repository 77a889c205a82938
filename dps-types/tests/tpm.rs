//! The keys of a TPM and the keys wrapped for it, as literals: a vector with known keys, and every invalid form.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_types::tpm::{AuthenticationKey, TpmPublic};

/// Created with the usual templates, from keys for tests only.
const EK: &str = "AToAAQALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAgAAAAAAAEAhd/jHPPN1T7SDbuFkhsq\
     oYwC8j050YSZHLdpCDUdVtD62Jzlr2/Ake7IW0Hl6vq3Y+Nxmt9aLfLBVXqavy/1obXJsjMzhbxZyb16inLcSZaJfG73FknlSj3h\
     kuz6VUaNQou1rH1syoqxhcibzA+tbTtKt94f5l0bK5xKzssrN4CFfGF8kFtevJKAxHOFiIE7dmi9NThSFmG6xsd5/ttg1491+Jj/\
     zU+upfjbQxB9KoxIHEwzOZag4T55oQMjvp8J8S/Pt4qkKIvGIa1cOLCmfPUxFisC/D+y4l5cNzxMVeAKoDsPwxWzlW5fpwkr8RnY\
     kFLFAVjVporyXN+OxqZRKQ==";
const SRK: &str = "ARoAAQALAAMEcgAAAAYAgABDABAIAAAAAAABAJgAS825PRp/9QOqRlbTeW/LZHKRl3tEzjjq2Vw89exDn3/YeYlm8Wj91Eoal7MM\
     JbdQk222G/8SJ2o/iOaOjVFCBpT2wgU4vpD8/2UXPIaqxMd5YXzJQbRUQNeUxA2W5D7k1wK/hiPp18KYuhbxQuIgC8pxTeQDubf2\
     RqFXNHWQa71Rvw/ajxWNyYs4Qz26O7fAEbF8J0WMuv+L581R6mIoSsb0Ru0/bud4tKkmbrsSKyvBoD53RNGZxhNBgVrRDzPQ8cge\
     GcNrUZwUa2pyNLIwxUazI7GYIUtWvqUA6P+O4KQyw7Jw1TFp/rAP4YZ3VBwJ6kAcghoMHiiCJdfla8s=";
/// A key of 32 bytes for these two, with URI data.
const AUTHENTICATION_KEY: &str = "ADQAIC+cdtGoFn6fWp1u6KKG4s4pLmnBaLGsj/7kjw8Zc0R94pU1Pl0b6Sy+jOHU7cNDcJmdAQAwtwMtxKGFz4hHfIXiRJWYIa4V\
     +BPkjPNfEYp+5M2DQwFMefLonhZpL3SDdvnVPozfOr1wccTqSdKWF3bYZUWBryMm1EvMEr3c88RUaG/u0wh7Jqq6Q8H6tcJXRq/J\
     SYGpXidDf5bSJjqRMuSwurPcLv51BdYTWfYQ61cddsBRoyJygMMHqGtf/snmOn1NawzjIbV/VFIBtWFRRcsyYSeXGBAkG4YjuY8b\
     XuYJHKDohfJ/BR0J3umpOPoeQ1T62DC6CpoPPXcxgjqJrmbMh0/p/Ur2950FYY/QOCuWteeRLl71Fl2EAOj0+64M6xYxA2/G6WvK\
     +hJnjRdMvXLGEjhdAI4AIOGKl9UZwe71+NI7Lm7JJpMAEtz0Ei9DnhzNE+ih1DkoiHN7FQ+AWQ7Dv8COhWZhRqbfSxO14U6tGsqC\
     zZXBjWDEZnXZNj7eszi32INvjRyjyUxz0xsInN9ntyOV7qZr5vPxU9JEikO/cU/4H+nyxv58TAEA98bVyZvGQv0NdGCGRPY8EFOV\
     ssQt2WIZAQBLxi/G7tFhwdPmxzXtvHjA0SY0iteq91cz0wom/44Oiyd7bqHEr4vWWp/OusahWoWLPRAcV3KOtyM5+FoN60wvQkbg\
     w7j+1f4xNHF68aS869X1N3NqgQjYxBHxd2VwmP8GpO59SDYxP26QBGVjH0zC7o9orQciX3kP1vmyB8SI8gM4PwgbsumBcc+89Mzw\
     mu/ZPoBGJrCwVVlAOl7+214uUw8ctsmY0MYw3CiL3R3mE8GImgZtu4OoEWp2a+vpfriDMew78QcX3G3niSTs09XfSxi+kF+Ea+wh\
     eK4vQ/R2HsZ5EbCzN4WrbevR9LhBFEaLAQsCeYLlKXI9Aam6QWhtAFAACAALAAQEQAAgvvVrjBzIThHt1xdSjSzZk1a9K7+PAVIJ\
     w/hK7quo6KIABQALACBao++6ArFpHBpXwjUKxQhJVerKekRVpCuPMhcl7loORQAe3gUC480RjFLxPtwm0uL7OgkowwQxo+UHmVm1\
     UWFy";

fn bytes(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_endorsement_key_is_read() {
    let key = TpmPublic::from_base64(EK).unwrap();
    assert_eq!(key.attributes(), 0x0003_00b2);
    assert_eq!(key.as_bytes().len(), 316);
    assert_eq!(key.area(), &key.as_bytes()[2..]);
    assert_eq!(key.modulus(), &key.as_bytes()[60..]);
    assert_eq!(
        key.default_registration_id().as_str(),
        "yixbxlepajhnmlpxo6p4terr2mqhsdglig4e67oz7wpha7eshv2a"
    );
    assert_eq!(key.to_base64(), EK);
    assert_eq!(TpmPublic::from_base64(&format!(" \r\n{EK}\n")), Ok(key));
}

#[test]
fn a_storage_root_key_is_read() {
    let key = TpmPublic::from_base64(SRK).unwrap();
    assert_eq!(key.attributes(), 0x0003_0472);
    assert_eq!(
        hex(&key.name()),
        "000bd2ee8f0abe501fce9c0339dfd4ebf8693995567abe10c17e04a8ee39b6bc6e7b"
    );
    assert_eq!(key.modulus().len(), TpmPublic::MODULUS_BYTES);
    assert_eq!(
        format!("{key:?}"),
        "TpmPublic { attributes: 0x00030472, .. }"
    );
}

/// Zero in the public area means the usual exponent, which may also be written out. The key then has another name.
#[test]
fn the_exponent_may_be_written_out() {
    let mut written = bytes(SRK);
    written[22..26].copy_from_slice(&[0x00, 0x01, 0x00, 0x01]);
    let key = TpmPublic::parse(&written).unwrap();
    assert_ne!(key.name(), TpmPublic::from_base64(SRK).unwrap().name());
}

#[test]
fn an_invalid_public_key_is_refused() {
    /// The position in the storage root key, the new bytes, and the expected error.
    const CHANGES: [(usize, &[u8], &str); 17] = [
        (0, &[0x01, 0x19], "bytes too many"),
        (0, &[0x01, 0x1b], "ends within the public area"),
        (2, &[0x00, 0x23], "it is an elliptic curve key"),
        (2, &[0x00, 0x08], "its type is 0x0008, not 0x0001"),
        (4, &[0x00, 0x04], "its name algorithm is 0x0004, not 0x000b"),
        (
            6,
            &[0x00, 0x07, 0x04, 0x72],
            "not a restricted decryption key",
        ),
        (
            6,
            &[0x00, 0x02, 0x04, 0x72],
            "not a restricted decryption key",
        ),
        (
            6,
            &[0x00, 0x01, 0x04, 0x72],
            "not a restricted decryption key",
        ),
        (10, &[0xff, 0xff], "ends within the policy"),
        (12, &[0x00, 0x10], "its symmetric algorithm"),
        (14, &[0x01, 0x00], "its symmetric key bits"),
        (16, &[0x00, 0x44], "its symmetric mode"),
        (18, &[0x00, 0x14], "its scheme"),
        (20, &[0x04, 0x00], "its key bits"),
        (22, &[0x00, 0x00, 0x00, 0x03], "its exponent is not 65537"),
        (26, &[0x00, 0xff], "its modulus is not of 2048 bits"),
        (28, &[0x7f], "its modulus is not of 2048 bits"),
    ];
    for (position, change, reason) in CHANGES {
        let mut changed = bytes(SRK);
        changed[position..position + change.len()].copy_from_slice(change);
        let error = TpmPublic::parse(&changed).unwrap_err().to_string();
        assert!(error.contains(reason), "{position}: {error}");
    }

    let whole = bytes(EK);
    for length in 0..whole.len() {
        assert!(TpmPublic::parse(&whole[..length]).is_err(), "{length}");
    }
    let longer = [&whole[..], &[0]].concat();
    let error = TpmPublic::parse(&longer).unwrap_err().to_string();
    assert!(error.contains("1 bytes too many"), "{error}");
    for text in ["", "?", &EK[1..], &EK.replace('+', "-")] {
        assert!(TpmPublic::from_base64(text).is_err(), "{text}");
    }
}

#[test]
fn the_parts_of_an_authentication_key_are_read() {
    let key = AuthenticationKey::from_base64(AUTHENTICATION_KEY).unwrap();
    let parts = [
        key.credential(),
        key.credential_secret(),
        key.duplicate(),
        key.duplicate_seed(),
        key.public_area(),
        key.uri_data(),
    ];
    assert_eq!(parts.map(<[u8]>::len), [52, 256, 142, 256, 80, 30]);
    assert_eq!(hex(&parts[0][..6]), "00202f9c76d1");
    // KEYEDHASH, SHA-256, sign | userWithAuth | noDA, and the policy for duplication.
    assert_eq!(
        hex(&parts[4][..42]),
        "0008000b000404400020bef56b8c1cc84e11edd717528d2cd99356bd2bbf8f015209c3f84aeeaba8e8a2"
    );
    assert_eq!(key.to_bytes().len(), 828);
    assert_eq!(key.to_base64(), AUTHENTICATION_KEY);
    assert_eq!(
        AuthenticationKey::new(parts.map(<[u8]>::to_vec)),
        Ok(key.clone())
    );
    assert_eq!(
        AuthenticationKey::from_base64(&format!("{AUTHENTICATION_KEY}\n")),
        Ok(key)
    );
}

/// As Azure's SDKs do.
#[test]
fn bytes_after_an_authentication_key_are_ignored() {
    let longer = [&bytes(AUTHENTICATION_KEY)[..], b"more"].concat();
    let key = AuthenticationKey::parse(&longer).unwrap();
    assert_eq!(key.to_base64(), AUTHENTICATION_KEY);
}

#[test]
fn an_authentication_key_that_is_cut_off_is_refused() {
    let whole = bytes(AUTHENTICATION_KEY);
    for length in 0..whole.len() {
        assert!(
            AuthenticationKey::parse(&whole[..length]).is_err(),
            "{length}"
        );
    }
    for (length, part) in [
        (1, "credential"),
        (54, "secret of the credential"),
        (400, "key"),
        (600, "seed of the key"),
        (720, "public area of the key"),
        (827, "URI data"),
    ] {
        let error = AuthenticationKey::parse(&whole[..length]).unwrap_err();
        let reason = format!("it ends within the {part}");
        assert!(error.to_string().ends_with(&reason), "{length}: {error}");
    }
    for text in ["", "?", &AUTHENTICATION_KEY[1..]] {
        assert!(AuthenticationKey::from_base64(text).is_err(), "{text}");
    }
}

#[test]
fn only_the_seed_and_the_uri_data_may_be_empty() {
    for empty in 0..6 {
        let mut parts = [(); 6].map(|()| b"part".to_vec());
        parts[empty].clear();
        let may = empty == 3 || empty == 5;
        assert_eq!(
            AuthenticationKey::new(parts.clone()).is_ok(),
            may,
            "{empty}"
        );
        let wire: Vec<u8> = parts
            .iter()
            .flat_map(|part| [&[0, if part.is_empty() { 0 } else { 4 }], &part[..]].concat())
            .collect();
        assert_eq!(AuthenticationKey::parse(&wire).is_ok(), may, "{empty}");
    }
}

#[test]
fn a_part_that_is_too_long_for_its_length_is_refused() {
    for (length, fits) in [(0xffff, true), (0x1_0000, false)] {
        let mut parts = [(); 6].map(|()| b"part".to_vec());
        parts[5] = vec![0; length];
        assert_eq!(AuthenticationKey::new(parts).is_ok(), fits, "{length}");
    }
}

#[test]
fn debug_shows_nothing_of_an_authentication_key() {
    let key = AuthenticationKey::from_base64(AUTHENTICATION_KEY).unwrap();
    assert_eq!(format!("{key:?}"), "AuthenticationKey(..)");
}
