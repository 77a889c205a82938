//! One rustls client configuration for the dps crates: trusted roots in, a configuration out.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! [`Roots`] says whom to trust, a [`CertifiedKey`](rustls::sign::CertifiedKey) says who the client is, and
//! [`ClientTls`] makes a [`rustls::ClientConfig`] of them. The cryptography is always *ring*, handed over
//! explicitly: nothing here reads or installs a process-wide default provider, and nothing writes to a system store.
//!
//! ```no_run
//! use dps_tls::{ClientTls, Roots, certified_key, read_chain, read_key};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let chain = read_chain(&std::fs::read("device-chain.pem")?)?;
//! let key = read_key(&std::fs::read("device-key.pem")?)?;
//! let roots = Roots::system().and(Roots::from_pem_file("private-root.pem")?);
//!
//! let config = ClientTls::new(roots)
//!     .with_identity(certified_key(chain, key)?)
//!     .build()?;
//! # let _ = config;
//! # Ok(())
//! # }
//! ```

mod config;
mod error;
mod failure;
mod identity;
mod pem;
mod roots;

pub use config::ClientTls;
pub use error::{Error, ErrorKind};
pub use failure::{causes, is_tls_failure};
pub use identity::{certified_key, chain_from_pem, read_chain, read_key};
pub use roots::Roots;
