//! The rustls client configuration of the dps crates: trust roots, client certificates, PEM and DER.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! # Client certificates
//!
//! [`Roots`] are the trusted roots, a [`CertifiedKey`](rustls::sign::CertifiedKey) is the client's identity, and [`ClientTls`]
//! builds a [`rustls::ClientConfig`] from them. The cryptography provider is always *ring*, passed explicitly: no process-wide
//! default provider is read or installed, and no system store is written.
//!
//! ```no_run
//! use dps_tls::{ClientTls, Roots, certified_key, read_chain, read_key};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chain = read_chain(&std::fs::read("device-chain.pem")?)?;
//! let key = read_key(&std::fs::read("device-key.pem")?)?;
//! let config = ClientTls::new(Roots::system())
//!     .with_identity(certified_key(chain, key)?)
//!     .build()?;
//! # let _ = config;
//! # Ok(())
//! # }
//! ```
// A panic on outside input would stop the program. Each exception has its reason next to it.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable
    )
)]

#[cfg(feature = "bundled-roots")]
mod bundle;
mod config;
mod error;
mod failure;
mod identity;
mod proxy;
mod reader;
mod roots;
mod versions;

pub use config::ClientTls;
pub use error::{Error, ErrorKind};
pub use failure::{causes, is_tls_failure};
pub use identity::{certified_key, read_chain};
pub use proxy::{Proxy, proxy_refused};
pub use reader::{read_certificates, read_key, read_padded_certificates};
pub use roots::Roots;
pub use versions::signs_for_tls13;
