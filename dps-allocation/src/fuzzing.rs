//! The private parsers, for the targets of `fuzz/`. Compiled only with `--cfg fuzzing`, which `cargo fuzz` sets.

use dps_types::AllocationRequest;

use crate::Outcome;

/// Interprets a webhook's answer as DPS does.
pub fn read_answer(status: u16, body: &[u8], request: &AllocationRequest) -> Outcome {
    Outcome::read(status, body, request)
}
