//! The SASL layer (AMQP 5.3): PLAIN, EXTERNAL, and the mechanism TPM of DPS.

mod client;
mod frames;
mod pieces;
mod server;

pub use client::{Tpm, external, plain};
pub use pieces::MAX_PIECE;
pub use server::{Mechanism, Outcome, SaslServer};
