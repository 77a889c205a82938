//! A pseudo-random number that depends only on a device and a purpose.

use sha2::{Digest, Sha256};

/// Returns a number in (0, 1), never 0 and never 1: the middle of one of 2^52 equal intervals, which an `f64` represents
/// exactly.
///
/// This function must never change: devices would move to other hubs.
pub(super) fn draw(registration_id: &str, purpose: &str) -> f64 {
    let digest = Sha256::new()
        .chain_update(registration_id)
        .chain_update([0])
        .chain_update(purpose)
        .finalize();
    let part = digest
        .iter()
        .take(8)
        .fold(0, |bits: u64, byte| bits << 8 | u64::from(*byte))
        >> 12;
    (part as f64 + 0.5) / (1_u64 << 52) as f64
}
