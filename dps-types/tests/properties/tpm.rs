//! The public keys of a TPM and the keys that are wrapped for it.

use dps_types::tpm::{AuthenticationKey, TpmPublic};
use proptest::collection::vec;
use proptest::prelude::*;

/// A storage root key by the usual template, up to the modulus.
const TEMPLATE: &[u8] =
    b"\x01\x1a\x00\x01\x00\x0b\x00\x03\x04\x72\x00\x00\x00\x06\x00\x80\x00\x43\x00\x10\x08\x00\x00\x00\x00\x00\x01\x00";

fn part(least: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), least..300)
}

proptest! {
    #[test]
    fn any_parts_are_read_as_they_were_written(
        a in part(1), b in part(1), c in part(1), d in part(0), e in part(1), f in part(0),
        after in part(0),
    ) {
        let key = AuthenticationKey::new([a, b, c, d, e, f]).expect("parts that fit");
        let bytes = key.to_bytes();
        prop_assert_eq!(&AuthenticationKey::parse(&bytes), &Ok(key.clone()));
        prop_assert_eq!(&AuthenticationKey::from_base64(&key.to_base64()), &Ok(key.clone()));
        prop_assert_eq!(&AuthenticationKey::parse(&[bytes, after].concat()), &Ok(key));
    }

    #[test]
    fn any_bytes_are_parsed_as_a_prefix_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(key) = AuthenticationKey::parse(&bytes) {
            prop_assert!(bytes.starts_with(&key.to_bytes()));
        }
        prop_assert!(TpmPublic::parse(&bytes).is_err(), "random bytes are not a template");
    }

    /// Few lengths, so that some bytes are six parts.
    #[test]
    fn short_lengths_are_parsed_as_a_prefix_or_refused(bytes in vec(0..3_u8, 0..60)) {
        if let Ok(key) = AuthenticationKey::parse(&bytes) {
            prop_assert!(bytes.starts_with(&key.to_bytes()));
        }
    }

    #[test]
    fn any_modulus_of_2048_bits_is_a_key(
        mut modulus in vec(any::<u8>(), TpmPublic::MODULUS_BYTES),
        position in 0..TEMPLATE.len(),
        change: u8,
    ) {
        modulus[0] |= 0x80;
        let mut bytes = [TEMPLATE, &modulus].concat();
        let key = TpmPublic::parse(&bytes).expect("a key");
        prop_assert_eq!(key.modulus(), &modulus);
        prop_assert_eq!(&TpmPublic::from_base64(&key.to_base64()), &Ok(key.clone()));
        prop_assert_eq!(key.default_registration_id().as_str().len(), 52);

        // A template that was tampered with is refused, or read as it is.
        bytes[position] = change;
        if let Ok(other) = TpmPublic::parse(&bytes) {
            prop_assert_eq!(other.as_bytes(), &bytes);
            prop_assert_eq!(other.modulus(), &modulus);
            prop_assert_eq!(other == key, other.name() == key.name());
        }
    }
}
