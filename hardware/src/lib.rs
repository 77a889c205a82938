//! Replacements for hardware in tests: a TPM in Rust, swtpm, SoftHSM, and other PKCS#11 modules.

mod provider;
mod raw_command;
mod resource_manager;
mod shim;
mod softhsm;
mod software_tpm;
mod swtpm;
mod tpm_proxy;
pub mod vector;

pub use provider::{KRYOPTIC, PROVIDERS, Provider, provider};
pub use resource_manager::ResourceManager;
pub use shim::Shim;
pub use softhsm::SoftHsm;
pub use software_tpm::{SoftwareTpm, SoftwareTpmAttestation};
pub use swtpm::Swtpm;
pub use tpm_proxy::{Sender, TpmProxy};
