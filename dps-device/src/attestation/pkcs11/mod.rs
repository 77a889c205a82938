//! Keys in a PKCS#11 token: a smart card, an HSM, a secure element.
//!
//! A [`Token`] is selected by a [`Uri`] (RFC 7512) and opened with a [`Pin`]. Objects in the token are selected by the `object`
//! (label) and `id` of a URI. One URI may contain everything: the module, the token, the object and the source of the PIN. The
//! `type` attribute is ignored, because each method looks for one type of object.
//!
//! ```no_run
//! # #[cfg(feature = "http")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use dps_device::pkcs11::{Token, Uri};
//! use dps_device::{Http, ProvisioningClient, X509Attestation};
//!
//! let uri: Uri = "pkcs11:token=device;object=toaster-0815\
//!     ?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/device/pin"
//!     .parse()?;
//! let token = Token::open(&uri).await?;
//!
//! // A certificate for a private key that never leaves the token, on every transport.
//! let identity = token.identity(&uri).await?;
//! let client = ProvisioningClient::new(
//!     "0ne00000A0A".parse()?,
//!     X509Attestation::new(identity)?,
//!     Http::default(),
//! );
//! # let _ = client;
//! # Ok(())
//! # }
//! ```
//!
//! A symmetric key signs in the token as well: pass a [`SecretKey`] to
//! [`SymmetricKeyAttestation::from_signer`](crate::SymmetricKeyAttestation::from_signer). Use a device key as it is, and derive the
//! device key of a group key with [`SecretKey::device_key`] first.
//!
//! To set up a token, use [`Token::generate_private_key`], [`PrivateKey::certificate_request`] and [`Token::store_chain`] for a
//! certificate, and [`Token::import_secret_key`] for a symmetric key.
//!
//! Nothing is linked: the module is loaded at run time, once for each file in a process, and stays loaded. A PIN that the token has
//! refused is never tried again in the process, and none is tried when one attempt is left, because tokens lock after a few wrong
//! attempts. Every call has a time limit: see [`TokenOptions::with_timeout`].

mod attributes;
mod certificates;
mod chain;
mod connection;
mod failure;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod generate;
mod key_place;
mod list;
mod module;
mod object;
mod options;
mod pin;
mod private_key;
mod public_key;
mod refused_pins;
mod secret_key;
mod token;
mod uri;
mod worker;

pub use super::key_kind::KeyKind;
pub use options::TokenOptions;
pub use pin::Pin;
pub use private_key::PrivateKey;
pub use secret_key::SecretKey;
pub use token::Token;
pub use uri::Uri;
