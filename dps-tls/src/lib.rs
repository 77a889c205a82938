//! One rustls client configuration for the dps crates: trusted roots in, a configuration out.
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
mod proxy;
mod reader;
mod roots;

pub use config::ClientTls;
pub use error::{Error, ErrorKind};
pub use failure::{causes, is_tls_failure};
pub use identity::{certified_key, read_chain};
pub use proxy::{Proxy, proxy_refused};
pub use reader::{read_certificates, read_key};
pub use roots::Roots;
