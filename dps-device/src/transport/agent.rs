//! The name of this client, and the ids of its requests.

#[cfg(any(feature = "mqtt", feature = "amqp"))]
use super::error::TransportError;
#[cfg(any(feature = "mqtt", feature = "amqp"))]
use crate::error::ErrorKind;

/// The name and version of this client, which the service logs.
pub(crate) const AGENT: &str = concat!("dps-device/", env!("CARGO_PKG_VERSION"));

/// A request id that is unique among all devices.
#[cfg(any(feature = "mqtt", feature = "amqp"))]
pub(crate) fn request_id() -> Result<String, TransportError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| {
        TransportError::new(
            ErrorKind::InvalidConfiguration,
            "the system cannot generate random numbers",
        )
        .with_source(error)
    })?;
    Ok(format!("{:032x}", u128::from_be_bytes(random)))
}
