//! Replacements for hardware in tests: a TPM in Rust, swtpm, and SoftHSM.

mod softhsm;
mod software_tpm;
mod swtpm;
pub mod vector;

pub use softhsm::SoftHsm;
pub use software_tpm::{SoftwareTpm, SoftwareTpmAttestation};
pub use swtpm::Swtpm;
