//! TLS on the server's side: which certificate the server presents, and which clients it accepts.

mod acceptor;
mod client_certificates;
mod failure;

pub(crate) use acceptor::{Configs, TlsAcceptor};
pub(crate) use failure::explain;
