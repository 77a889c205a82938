//! A number that depends on a device and on nothing that changes.

use sha2::{Digest, Sha256};

/// A number in (0, 1), never 0 and never 1: the middle of one of 2^52 equal parts, which an `f64` holds exactly.
///
/// Devices would move if it changed, so it never does.
pub(super) fn draw(registration_id: &str, purpose: &str) -> f64 {
    let digest = Sha256::new()
        .chain_update(registration_id)
        .chain_update([0])
        .chain_update(purpose)
        .finalize();
    let part = digest[..8]
        .iter()
        .fold(0, |bits: u64, byte| bits << 8 | u64::from(*byte))
        >> 12;
    (part as f64 + 0.5) / (1_u64 << 52) as f64
}
