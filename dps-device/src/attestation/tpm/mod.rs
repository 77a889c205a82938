//! Keys in a TPM 2.0, on the TPM Software Stack (libtss2): TPM attestation, and X.509 attestation with the private key in
//! the TPM.
//!
//! ```no_run
//! # async fn provision() -> Result<(), Box<dyn std::error::Error>> {
//! use dps_device::ProvisioningClient;
//! # #[cfg(feature = "http")]
//! use dps_device::Http;
//! use dps_device::tpm::{Tpm, TpmAttestation, TpmOptions};
//!
//! let tpm = Tpm::open(TpmOptions::default()).await?;
//! let who = TpmAttestation::new(&tpm).await?;
//! println!("enroll this endorsement key: {}", who.endorsement_key().to_base64());
//!
//! # #[cfg(feature = "http")]
//! # {
//! let client = ProvisioningClient::new("0ne00000A0A".parse()?, who, Http::default());
//! let assignment = client.register().await?;
//! # }
//! // From now on the TPM can sign tokens for the IoT hub, also after a restart.
//! let signer = tpm.hub_signer();
//! # Ok(())
//! # }
//! ```
//!
//! TPM attestation requires HTTPS, because DPS has no challenge over MQTT. X.509 attestation with a [`TpmKeyPair`] works over
//! every transport.
//!
//! # Requirements
//!
//! * To build: libtss2 (Debian: `libtss2-dev`).
//! * To run: `libtss2-esys`, and the library of the TCTI, such as `libtss2-tcti-device0`, which is loaded on first use.
//! * Permission to open the TPM: for `/dev/tpmrm0`, the user must be in the group `tss`.
//!
//! # Output of libtss2
//!
//! libtss2 writes TPM errors to stderr. Set `TSS2_LOG=all+NONE` in the environment of the program to turn that off; libtss2 reads
//! it once, on first use. The errors of this crate contain the same information: the command, the name of the response code, and
//! advice ([`TpmError`]).

mod attestation;
mod auth_value;
mod connection;
mod endorsement_certificate;
mod error;
mod handle;
mod hub_key;
mod key_pair;
mod keys;
mod list;
mod nv;
mod nv_index;
mod nv_problem;
mod options;
mod policy;
mod response_code;
mod session;
mod stored_chain;
mod tcti;
mod tls_key;
mod wrapped_key;

pub use super::key_kind::KeyKind;
pub use attestation::TpmAttestation;
pub use auth_value::{AuthValue, HierarchyAuth, KeyAuth};
pub use error::TpmError;
pub use handle::Tpm;
pub use hub_key::HubSigner;
pub use key_pair::{KeyPairOptions, TpmKeyPair};
pub use nv_index::NvIndex;
pub use nv_problem::NvProblem;
pub use options::{EndorsementTemplate, PersistentHandle, TpmOptions};
pub use policy::{Approval, MeasuredState, Pcr, PcrBank, PcrPolicy, PolicyAuthority};
pub use stored_chain::StoredChain;
pub use tcti::Tcti;
