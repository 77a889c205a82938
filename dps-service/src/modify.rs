//! Reads, changes and writes an enrollment, and starts over if it was changed in between.

use std::error::Error as StdError;

use dps_types::enrollment::AttestationType;
use dps_types::protocol::IfMatch;
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::enrollment_kind::EnrollmentKind;
use crate::enrollments::Enrollments;
use crate::error::{Error, ErrorKind};
use crate::retry::{Repeat, pause};

/// The most attempts of one change.
const ATTEMPTS: u32 = 8;

impl<E: EnrollmentKind> Enrollments<'_, E> {
    /// Reads an enrollment with its keys, changes it, and writes it if it was not changed in between. Otherwise it starts
    /// over, up to eight times within the timeout. Nothing is lost: the keys, fields that are unknown to this crate, and
    /// the changes of other clients are kept. Certificates, which no read returns, stay in the service.
    ///
    /// The closure is called once for each version that was read. It returns nothing, or a `Result` whose error ends the
    /// operation. The written enrollment is returned, with its keys and its new ETag.
    ///
    /// A write whose answer was lost is not retried, because a change such as an exchange of keys must not be made twice:
    /// see [`Error::is_in_doubt`].
    ///
    /// ```no_run
    /// # async fn run(dps: dps_service::ServiceClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let hub: dps_types::HubHostname = "toasters.azure-devices.net".parse()?;
    /// let groups = dps.enrollment_groups();
    /// groups.modify(&"toasters".parse()?, |group| group.iot_hubs = Some(vec![hub.clone()])).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Change`] when the closure failed; [`ErrorKind::PreconditionFailed`] when
    /// other clients changed the enrollment during every attempt; [`ErrorKind::Invalid`].
    pub async fn modify<O: ChangeOutcome>(
        &self,
        id: &E::Id,
        mut change: impl FnMut(&mut E) -> O,
    ) -> Result<E, Error> {
        let deadline = self.client.deadline();
        let mut tries = 0;
        loop {
            tries += 1;
            let mut enrollment = self.get_with_keys(id, deadline).await?;
            let Some(version) = enrollment.etag().cloned().map(IfMatch::Version) else {
                let message =
                    "the service returned no ETag, so changes by other clients cannot be detected";
                return Err(Error::new(ErrorKind::Protocol, message));
            };
            change(&mut enrollment).into_result().map_err(|error| {
                Error::new(ErrorKind::Change, "the change failed").with_source(error)
            })?;
            let written = self.put(&enrollment, Some(version), Repeat::UnlessInDoubt, deadline);
            let error = match written.await {
                Err(error) if error.kind() == ErrorKind::PreconditionFailed => error,
                result => return result,
            };
            let pause = pause(tries, None);
            if tries == ATTEMPTS || Instant::now() + pause >= deadline {
                return Err(error);
            }
            info!(
                tries,
                "another client changed the enrollment: reading it again"
            );
            sleep(pause).await;
        }
    }

    /// Reads the enrollment and adds its keys, which a read does not return. A change of the keys between the two requests
    /// also changes the ETag.
    async fn get_with_keys(&self, id: &E::Id, deadline: Instant) -> Result<E, Error> {
        let mut enrollment = self.get_before(id, deadline).await?;
        let attestation = enrollment.attestation();
        let keys = attestation.symmetric_key.as_ref();
        let has_keys = keys.is_some_and(|keys| {
            let primary = keys.primary_key.as_ref();
            primary.is_some_and(|key| !key.reveal().is_empty())
        });
        if attestation.kind == AttestationType::SymmetricKey && !has_keys {
            let mechanism = self.attestation_before(id, deadline).await?;
            attestation.symmetric_key = mechanism.symmetric_key;
        }
        Ok(enrollment)
    }
}

/// The return type of a change: nothing, or a `Result` of nothing. No other type can implement it.
pub trait ChangeOutcome: sealed::Sealed {
    #[doc(hidden)]
    fn into_result(self) -> Result<(), Box<dyn StdError + Send + Sync>>;
}

impl ChangeOutcome for () {
    fn into_result(self) -> Result<(), Box<dyn StdError + Send + Sync>> {
        Ok(())
    }
}

impl<X: Into<Box<dyn StdError + Send + Sync>>> ChangeOutcome for Result<(), X> {
    fn into_result(self) -> Result<(), Box<dyn StdError + Send + Sync>> {
        self.map_err(Into::into)
    }
}

mod sealed {
    #[allow(unnameable_types)] // It seals the public trait.
    pub trait Sealed {}

    impl Sealed for () {}
    impl<X> Sealed for Result<(), X> {}
}
