//! Shared access signatures: build, sign, parse and verify them.
//!
//! ```text
//! SharedAccessSignature sr={resource}&sig={HMAC-SHA256 of "{sr}\n{se}"}&se={unix seconds}[&skn={policy}]
//! ```
//! Sources: azure-docs `iot-dps/iot-dps-https-sym-key-support.md` (device), `concepts-control-access-dps.md` (service).

mod builder;
mod fields;
mod sign;
mod token;

pub use builder::SasTokenBuilder;
pub use sign::{Sign, SignError, Signature};
pub use token::SasToken;

/// The string that a signature covers.
fn string_to_sign(sr: &str, se: &str) -> String {
    format!("{sr}\n{se}")
}
