//! Signing and verifying SAS tokens.

use std::hint::black_box;

use dps_types::sas::{SasToken, SasTokenBuilder};
use dps_types::{RegistrationId, SymmetricKey};

use crate::meter::Meter;

const RESOURCE: &str = "0ne00000A0A/registrations/toaster-1";
const EXPIRY: u64 = 1_700_000_000;

pub(crate) fn measure(meter: &Meter) {
    let key = SymmetricKey::from_bytes([7; 32]).unwrap();
    let device: RegistrationId = "toaster-1".parse().unwrap();
    let sign = || {
        SasTokenBuilder::new(black_box(RESOURCE), black_box(EXPIRY))
            .policy("registration")
            .sign_with(&key)
    };
    let text = sign().reveal().to_string();
    meter.count("sas/make", sign);
    meter.count("sas/verify", || {
        let token: SasToken = black_box(&text).parse().unwrap();
        assert!(token.covers(RESOURCE) && token.verify(&key));
    });
    meter.count("sas/derive_device_key", || {
        black_box(&key).derive_device_key(&device)
    });
}
