//! Forged credentials and requests, as tables: none is accepted, on any transport, and the genuine one is.

mod attempt;
mod hub;
mod operator_tokens;
mod requests;
mod sas_tokens;
mod x509_chains;

use attempt::{Credentials, TRANSPORTS, is_registered};
