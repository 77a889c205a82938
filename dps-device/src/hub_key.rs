//! Gives the hub key of an assignment to the device's TPM.

use std::time::Duration;

use dps_types::tpm::AuthenticationKey;

use crate::assignment::Assignment;
use crate::attestation::tpm_keys::TpmKeys;
use crate::error::Error;
use crate::transport::challenge::{in_time, malformed_key};

/// Imports the hub key into the TPM. A device with a TPM cannot connect to its hub without it.
pub(crate) async fn keep_hub_key(
    tpm: &dyn TpmKeys,
    assignment: &Assignment,
    limit: Duration,
) -> Result<(), Error> {
    let text = assignment.hub_key().ok_or_else(|| {
        Error::protocol("the answer assigns the device but has no hub key for its TPM")
    })?;
    let key = AuthenticationKey::from_base64(text).map_err(malformed_key)?;
    let imported = in_time(
        tpm.keep_hub_key(&key),
        limit,
        "the TPM did not import the hub key",
    );
    Ok(imported.await?)
}
