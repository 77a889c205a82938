//! Reads, changes and writes an enrollment, and starts over if it was changed in between.

use std::error::Error as StdError;

use dps_types::enrollment::{AttestationMechanism, AttestationType};
use dps_types::protocol::{ApiVersion, IfMatch};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::api_version::{self, SEPARATE_PREVIEW};
use crate::enrollment_kind::EnrollmentKind;
use crate::enrollments::Enrollments;
use crate::error::{Error, ErrorKind};
use crate::read::may_refuse_the_api_version;
use crate::request::Request;
use crate::retry::{Repeat, pause};

/// The most attempts of one change.
const ATTEMPTS: u32 = 8;

impl<E: EnrollmentKind> Enrollments<'_, E> {
    /// Reads an enrollment with its keys, changes it, and writes it if it was not changed in between. Otherwise it starts
    /// over, up to eight times within the timeout. Nothing is lost: the keys, fields that are unknown to this crate, and
    /// the changes of other clients are kept. Certificates, which no read returns, stay in the service. The write has the
    /// api-version of the read, which [`ServiceClient::with_api_version`](crate::ServiceClient::with_api_version) describes.
    ///
    /// No api-version has all fields: only [`ApiVersion::V2025_07_01_PREVIEW`] has `credentialPolicyName`. Without a chosen
    /// api-version, the enrollment is therefore also read with that one, and written with it if it has this field.
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
    /// other clients changed the enrollment during every attempt; [`ErrorKind::Invalid`]; [`ErrorKind::Unsupported`] when no
    /// api-version has all fields of the enrollment.
    pub async fn modify<O: ChangeOutcome>(
        &self,
        id: &E::Id,
        mut change: impl FnMut(&mut E) -> O,
    ) -> Result<E, Error> {
        let deadline = self.client.deadline();
        let mut tries = 0;
        loop {
            tries += 1;
            let (mut enrollment, api_version) = self.get_with_keys(id, deadline).await?;
            let Some(etag) = enrollment.etag().cloned().map(IfMatch::Version) else {
                let message =
                    "the service returned no ETag, so changes by other clients cannot be detected";
                return Err(Error::new(ErrorKind::Protocol, message));
            };
            change(&mut enrollment).into_result().map_err(|error| {
                Error::new(ErrorKind::Change, "the change failed").with_source(error)
            })?;
            let written = self.put_changed(&enrollment, api_version, etag, deadline);
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
    async fn get_with_keys(&self, id: &E::Id, deadline: Instant) -> Result<(E, ApiVersion), Error> {
        let (mut enrollment, api_version) = self.get_whole(id, deadline).await?;
        let attestation = enrollment.attestation();
        let keys = attestation.symmetric_key.as_ref();
        let has_keys = keys.is_some_and(|keys| {
            let primary = keys.primary_key.as_ref();
            primary.is_some_and(|key| !key.reveal().is_empty())
        });
        if attestation.kind == AttestationType::SymmetricKey && !has_keys {
            let request = Request::new(E::attestation_route(id));
            let read = self.client.read_with(api_version, request, deadline);
            let mechanism: AttestationMechanism = read.await?.0.json()?;
            attestation.symmetric_key = mechanism.symmetric_key;
        }
        Ok((enrollment, api_version))
    }

    /// Reads the enrollment with an api-version that has all of its fields. A write with another one would remove fields.
    async fn get_whole(&self, id: &E::Id, deadline: Instant) -> Result<(E, ApiVersion), Error> {
        let (found, version) = self.get_before(id, deadline).await?;
        if self.client.chosen_version().is_some() || found.etag().is_none() {
            return Ok((found, version));
        }
        let other = match self.get_with(SEPARATE_PREVIEW, id, deadline).await {
            Err(error) if may_refuse_the_api_version(&error) => return Ok((found, version)),
            result => result?,
        };
        let own = api_version::own_field(&other.fields(), SEPARATE_PREVIEW);
        // If another client changed the enrollment between the two reads, the write is refused and begins again.
        let Some(own) = own.filter(|_| found.etag() == other.etag()) else {
            return Ok((found, version));
        };
        match first_missing(&found, &other) {
            None => Ok((other, SEPARATE_PREVIEW)),
            Some(newer) => {
                let message = format!(
                    "the enrollment has {own} of api-version {SEPARATE_PREVIEW} and {newer} of api-version {version}, and no \
                     api-version has both: remove one of them with a chosen api-version"
                );
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    /// Writes an enrollment that was read with this api-version, if it still has this ETag.
    async fn put_changed(
        &self,
        enrollment: &E,
        read: ApiVersion,
        etag: IfMatch,
        deadline: Instant,
    ) -> Result<E, Error> {
        let chosen = self.client.chosen_version();
        let version = api_version::for_changed_fields(&enrollment.fields(), read, chosen)?;
        self.put_with(
            version,
            enrollment,
            Some(etag),
            Repeat::UnlessInDoubt,
            deadline,
        )
        .await
    }
}

/// The first field of an enrollment that the other does not have.
fn first_missing<E: Serialize>(enrollment: &E, other: &E) -> Option<String> {
    let fields = |enrollment| match serde_json::to_value(enrollment) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let other = fields(other);
    let mut all = fields(enrollment).into_iter();
    let missing = all.find(|(name, value)| !value.is_null() && !other.contains_key(name));
    missing.map(|(name, _)| name)
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
