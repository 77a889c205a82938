//! The limit on the signature verifications of one registration.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::attest::chain_error::{ChainError, ChainRule};

/// The number of signatures that one registration may verify: enough for the anchors of a full instance (100 groups with
/// two certificates each, 25 CA certificates) when they all share one name and have no key identifiers.
pub(super) const MAX_SIGNATURES: usize = 256;

/// Counts the signature verifications of one registration, and stops them at a limit.
#[derive(Debug)]
pub(in crate::attest) struct SignatureBudget {
    limit: usize,
    used: AtomicUsize,
}

impl Default for SignatureBudget {
    fn default() -> Self {
        Self {
            limit: MAX_SIGNATURES,
            used: AtomicUsize::new(0),
        }
    }
}

impl SignatureBudget {
    /// The number of signatures that were verified.
    #[cfg(any(test, fuzzing))]
    pub(in crate::attest) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns false if the limit is reached.
    pub(super) fn spend(&self) -> bool {
        let more = |used| (used < self.limit).then_some(used + 1);
        let spent = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        spent.is_ok()
    }
}

pub(super) fn too_many_signatures() -> ChainError {
    let detail = format!("more than {MAX_SIGNATURES} signatures");
    ChainError::new(ChainRule::TooComplex, detail)
}
