//! The `tpm` feature against swtpm and the emulator.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../pkcs11/authority.rs"]
mod authority;
mod blobs;
mod bus;
mod certificate_keys;
mod cost;
mod damaged_responses;
mod doubles;
mod dps;
mod endorsement;
mod full_memory;
mod hierarchies;
mod key_pair;
#[path = "../pkcs11/key_source.rs"]
mod key_source;
mod keys;
mod policies;
mod power_cut;
mod raw;
mod registration;
mod resource_manager;
mod secrets;
mod stored_chain;
mod tls;
mod wrap;

use std::error::Error;

use dps_device::tpm::{AuthValue, Tpm, TpmAttestation, TpmError, TpmOptions};
use dps_hardware::Swtpm;

/// The options for this TPM.
fn options(swtpm: &Swtpm) -> TpmOptions {
    TpmOptions::default().with_tcti(swtpm.tcti().parse().unwrap())
}

fn secret<const MAX: usize>(value: impl AsRef<[u8]>) -> AuthValue<MAX> {
    AuthValue::new(value).unwrap()
}

async fn open(swtpm: &Swtpm) -> Tpm {
    Tpm::open(options(swtpm)).await.unwrap()
}

async fn attestation(swtpm: &Swtpm) -> TpmAttestation {
    TpmAttestation::new(&open(swtpm).await).await.unwrap()
}

/// The TPM error in the source chain of an error.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> &'a TpmError {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return found;
        }
        next = error.source();
    }
    panic!("there is no TPM error in {error:?}");
}

/// An error with all its sources, as a program logs it.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
