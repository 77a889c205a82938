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
//! // From now on the TPM signs the tokens for the IoT hub, also after a restart.
//! let signer = tpm.hub_signer();
//! # Ok(())
//! # }
//! ```
//!
//! TPM attestation works over HTTPS alone: DPS has no challenge over MQTT. X.509 attestation with a [`TpmKeyPair`] works
//! over every transport.
//!
//! # What the machine needs
//!
//! libtss2 to build (Debian: `libtss2-dev`) and to run (`libtss2-esys` and the library of the TCTI, such as
//! `libtss2-tcti-device0`, which is loaded when it is used), and a user who may open the TPM: one in the group `tss` for
//! `/dev/tpmrm0`.
//!
//! # Noise
//!
//! libtss2 writes the errors of a TPM to stderr. Set `TSS2_LOG=all+NONE` in the environment of the program to silence it:
//! it is read once, at the first use, and a program cannot set it in itself without unsafe code. What matters is in the
//! errors of this crate anyhow: the command, the response code with its name, and what to do ([`TpmError`]).

mod attestation;
mod connection;
mod error;
mod handle;
mod hub_key;
mod key_pair;
mod keys;
mod options;
mod response_code;
mod tcti;
mod tls_key;
mod wrapped_key;

pub use attestation::TpmAttestation;
pub use error::TpmError;
pub use handle::Tpm;
pub use hub_key::HubSigner;
pub use key_pair::{KeyKind, KeyPairOptions, TpmKeyPair};
pub use options::{EndorsementTemplate, PersistentHandle, TpmOptions};
pub use tcti::Tcti;
