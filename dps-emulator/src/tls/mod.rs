//! TLS on the server's side: the certificates that the server presents, and the clients that it accepts.
//!
//! rustls has TLS 1.2 and 1.3 with ECDHE and AES-GCM or ChaCha20. It does not have cipher suites with CBC or with RSA key
//! exchange (static RSA), so clients that offer nothing else cannot connect.

mod acceptor;
mod client_certificates;
mod configs;
mod failure;
mod rsa;

pub(crate) use acceptor::TlsAcceptor;
pub(crate) use failure::explain;
