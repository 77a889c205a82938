//! Keys that DPS wraps for the device's TPM: the one of a challenge, and the hub key of an assignment.

use std::time::Duration;

use dps_types::ParseError;
use dps_types::sas::SignError;
use dps_types::tpm::AuthenticationKey;
use tokio::time::timeout;

use crate::assignment::Assignment;
use crate::attestation::TpmKeys;
use crate::error::{Error, ErrorKind};
use crate::transport::TransportError;

/// Gives the TPM the hub key of the assignment. A device with a TPM that gets none has no way to its hub.
pub(crate) async fn keep_hub_key(
    tpm: &dyn TpmKeys,
    assignment: &Assignment,
    limit: Duration,
) -> Result<(), Error> {
    let tpm_result = assignment.registration().tpm.as_ref();
    let text = tpm_result
        .and_then(|tpm| tpm.authentication_key.as_deref())
        .ok_or_else(|| {
            Error::protocol("the device is assigned, but without the hub key for its TPM")
        })?;
    let key = AuthenticationKey::from_base64(text).map_err(malformed)?;
    let kept = in_time(
        tpm.keep_hub_key(&key),
        limit,
        "the TPM did not take the hub key",
    );
    Ok(kept.await?)
}

/// A 401 that is no refusal: whoever opens it proves to be the TPM. Source: azure-iot-sdk-csharp#432.
#[cfg(feature = "http")]
pub(crate) struct Challenge {
    key: AuthenticationKey,
    key_name: Option<String>,
}

#[cfg(feature = "http")]
impl Challenge {
    /// Reads an answer. `None` when it is something else, a refusal say.
    pub(crate) fn parse(reply: &crate::transport::Reply) -> Result<Option<Self>, TransportError> {
        if reply.status != 401 {
            return Ok(None);
        }
        let Ok(challenge) = serde_json::from_slice::<dps_types::TpmChallenge>(&reply.body) else {
            return Ok(None);
        };
        Ok(Some(Self {
            key: AuthenticationKey::from_base64(&challenge.authentication_key)
                .map_err(malformed)?,
            key_name: challenge.key_name,
        }))
    }

    /// Has the TPM open it. Gives the name of the key that signs from then on.
    pub(crate) async fn open(
        self,
        tpm: &dyn TpmKeys,
        limit: Duration,
    ) -> Result<String, TransportError> {
        let opened = tpm.activate(&self.key);
        in_time(opened, limit, "the TPM did not open the challenge").await?;
        let usual = dps_types::protocol::device::SAS_POLICY;
        Ok(self.key_name.unwrap_or_else(|| usual.to_owned()))
    }
}

/// What the TPM does not do now it will not do the next time: unlike the network, it is not asked again.
async fn in_time(
    work: impl Future<Output = Result<(), SignError>>,
    limit: Duration,
    what: &'static str,
) -> Result<(), TransportError> {
    match timeout(limit, work).await {
        Ok(done) => {
            done.map_err(|error| TransportError::new(ErrorKind::Signing, what).with_source(error))
        }
        Err(_) => Err(TransportError::new(
            ErrorKind::Signing,
            format!("{what} within {limit:?}"),
        )),
    }
}

fn malformed(error: ParseError) -> TransportError {
    TransportError::new(
        ErrorKind::Protocol,
        "the key for the TPM is not as it should be",
    )
    .with_source(error)
}
