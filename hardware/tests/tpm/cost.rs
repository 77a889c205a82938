//! The cost of encrypted sessions. By hand: `cargo test -p dps-hardware --all-features --test tpm cost -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use dps_device::Attestation;
use dps_device::tpm::{KeyKind, Tpm, TpmAttestation, TpmOptions};
use dps_hardware::Swtpm;
use dps_types::sas::Sign;

use crate::dps::Dps;
use crate::{attestation, options};

const COUNT: usize = 100;

#[tokio::test]
#[ignore = "prints figures of this machine"]
async fn of_a_signature_and_of_a_registration() {
    let swtpm = Swtpm::start();
    let key = attestation(&swtpm).await.endorsement_key().clone();
    let default = options(&swtpm);
    let dps = Dps::start().await;
    let id = key.default_registration_id();
    dps.enroll(&id, &key).await;
    let tpm = Tpm::open(default.clone()).await.unwrap();
    tpm.key_pair().create(KeyKind::P256).await.unwrap();
    for (name, options) in [
        ("encrypted", default.clone()),
        (
            "encrypted, expected key",
            default.clone().with_expected_endorsement_key(key),
        ),
        ("not encrypted", default.without_encryption()),
    ] {
        measure(name, &dps, options).await;
    }
    dps.shutdown().await;
}

async fn measure(name: &str, dps: &Dps, options: TpmOptions) {
    let tpm = Tpm::open(options).await.unwrap();
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let client = dps.client(who.clone());
    let pair = tpm.key_pair().open().await.unwrap();
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..COUNT {
        let start = Instant::now();
        client.register().await.unwrap();
        times[0].push(start.elapsed());
        let start = Instant::now();
        tpm.hub_signer().sign(b"data").await.unwrap();
        times[1].push(start.elapsed());
        let start = Instant::now();
        pair.certificate_request(who.registration_id())
            .await
            .unwrap();
        times[2].push(start.elapsed());
    }
    let [registration, token, signature] = times.map(median);
    println!(
        "{name}: registration {registration:?}, token {token:?}, P-256 signature {signature:?}"
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
