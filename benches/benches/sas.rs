//! Tokens: signing, verification, and derivation of a device key from a group key.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use dps_types::sas::{SasToken, SasTokenBuilder};
use dps_types::{RegistrationId, SymmetricKey};

const RESOURCE: &str = "0ne00000A0A/registrations/breakroom499-contoso-tstrsd-007";
const EXPIRY: u64 = 1_700_000_000;

fn sas(criterion: &mut Criterion) {
    let key = SymmetricKey::generate();
    let device: RegistrationId = "breakroom499-contoso-tstrsd-007".parse().unwrap();
    let token = make(&key);
    assert!(verify(&token, &key));

    let mut group = criterion.benchmark_group("sas");
    group.bench_function("make", |bencher| bencher.iter(|| make(black_box(&key))));
    group.bench_function("verify", |bencher| {
        bencher.iter(|| verify(black_box(&token), black_box(&key)));
    });
    group.bench_function("derive_device_key", |bencher| {
        bencher.iter(|| black_box(&key).derive_device_key(black_box(&device)));
    });
    group.bench_function("hmac_sha256_alone", |bencher| {
        bencher.iter(|| black_box(&key).hmac_sha256(black_box(RESOURCE.as_bytes())));
    });
    group.finish();
}

fn make(key: &SymmetricKey) -> String {
    let token = SasTokenBuilder::new(black_box(RESOURCE), black_box(EXPIRY)).policy("registration");
    token.sign_with(key).reveal().to_string()
}

/// Parses a token, reads its fields and verifies its signature, as a server does.
fn verify(text: &str, key: &SymmetricKey) -> bool {
    let token: SasToken = text.parse().unwrap();
    token.covers(RESOURCE) && token.verify(key)
}

criterion_group!(benches, sas);
criterion_main!(benches);
