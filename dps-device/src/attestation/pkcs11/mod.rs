//! Keys in a PKCS#11 token: a smart card, an HSM, a secure element.
//!
//! A [`Token`] is found by a [`Uri`] (RFC 7512) and opened with a [`Pin`]. Objects in it are found by a URI too: by its `object`
//! (the label) and `id`. One URI may tell all: module, token, object and where the PIN is. Its `type` is not looked at: what is
//! looked for is what the method names.
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
//! A symmetric key signs in the token as well. [`SecretKey`] goes into
//! [`SymmetricKeyAttestation::from_signer`](crate::SymmetricKeyAttestation::from_signer), for a device key as it is, for a group
//! key after [`SecretKey::device_key`].
//!
//! To begin with: [`Token::generate_private_key`], [`PrivateKey::certificate_request`], [`Token::store_chain`] for a certificate,
//! [`Token::import_secret_key`] for a symmetric key.
//!
//! Nothing is linked: the module is loaded at run time, once in a process for each file, and stays loaded.
//! No function here tries a refused PIN again, since tokens lock after a few.

mod certificates;
mod connection;
mod failure;
mod generate;
mod module;
mod object;
mod pin;
mod private_key;
mod public_key;
mod secret_key;
mod token;
mod uri;

pub use generate::KeyKind;
pub use pin::Pin;
pub use private_key::PrivateKey;
pub use secret_key::SecretKey;
pub use token::Token;
pub use uri::Uri;
