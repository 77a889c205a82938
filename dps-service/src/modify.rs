//! Read, change, write: and again when somebody else wrote in between.

use std::error::Error as StdError;

use dps_types::enrollment::AttestationType;
use dps_types::protocol::IfMatch;
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::enrollments::Enrollments;
use crate::error::{Error, ErrorKind};
use crate::kind::EnrollmentKind;
use crate::retry::{Repeat, pause};

/// How often a change is made before it gives way to the others.
const ATTEMPTS: u32 = 8;

impl<E: EnrollmentKind> Enrollments<'_, E> {
    /// Reads an enrollment with its keys, changes it, and writes it if nobody else did in between; else once more from
    /// the start, up to eight times within the deadline. Nothing is lost: neither keys nor fields that this version does
    /// not know, nor what others wrote. Certificates, which no read returns, stay with the service.
    ///
    /// The change is called once for each version that was read. It returns nothing, or a `Result` whose error ends the
    /// operation. The written enrollment is returned, with its keys and its new ETag.
    ///
    /// A write whose answer was lost is not repeated, since a change such as an exchange of keys must not be made twice:
    /// [`Error::is_in_doubt`] tells.
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
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Change`] when the change failed; [`ErrorKind::PreconditionFailed`] when
    /// others came first each time; [`ErrorKind::Invalid`].
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
                let what = "the service gives no ETag: nothing tells whether others write too";
                return Err(Error::new(ErrorKind::Protocol, what));
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
            info!(tries, "somebody else wrote in between: reading again");
            sleep(pause).await;
        }
    }

    /// The enrollment with what a read leaves out. If the keys are changed between the two requests, so is the ETag.
    async fn get_with_keys(&self, id: &E::Id, deadline: Instant) -> Result<E, Error> {
        let mut enrollment = self.get_before(id, deadline).await?;
        let attestation = enrollment.attestation();
        let keys = attestation.symmetric_key.as_ref();
        let lacks_keys = keys.is_none_or(|keys| keys.primary_key.is_none());
        if attestation.kind == AttestationType::SymmetricKey && lacks_keys {
            let whole = self.attestation_before(id, deadline).await?;
            attestation.symmetric_key = whole.symmetric_key;
        }
        Ok(enrollment)
    }
}

/// What a change returns: nothing, or a `Result` of nothing. No others can be made.
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
    #[allow(unnameable_types)] // That is what seals it.
    pub trait Sealed {}

    impl Sealed for () {}
    impl<X> Sealed for Result<(), X> {}
}
