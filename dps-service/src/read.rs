//! Reads enrollments with the newest api-version that the service has: an older one leaves out fields, and a write of such a
//! document would remove them.

use dps_types::protocol::ApiVersion;
use tokio::time::Instant;

use crate::api_version::{DEFAULT, NEWER};
use crate::client::ServiceClient;
use crate::error::{Error, ErrorKind};
use crate::request::{Answer, Request};
use crate::retry::Repeat;

impl ServiceClient {
    /// Sends a read of enrollments, and returns the answer with its api-version: the caller's choice, or the newest one that the
    /// service does not refuse.
    ///
    /// The result of the fallback is not stored: a service that gets the newest api-version while the client exists would lose
    /// fields.
    pub(crate) async fn read(
        &self,
        request: Request,
        deadline: Instant,
    ) -> Result<(Answer, ApiVersion), Error> {
        if let Some(chosen) = self.chosen_version() {
            return self.read_with(chosen, request, deadline).await;
        }
        for version in NEWER {
            match self.read_with(*version, request.clone(), deadline).await {
                Err(error) if may_refuse_the_api_version(&error) => {}
                result => return result,
            }
        }
        self.read_with(DEFAULT, request, deadline).await
    }

    pub(crate) async fn read_with(
        &self,
        version: ApiVersion,
        request: Request,
        deadline: Instant,
    ) -> Result<(Answer, ApiVersion), Error> {
        let request = request.with_api_version(version);
        let answer = self.send(request, Repeat::Freely, deadline).await?;
        Ok((answer, version))
    }
}

/// An api-version that the service does not have is a 400. For a query, its text may be the reason instead: then every other
/// request is refused as well.
pub(crate) fn may_refuse_the_api_version(error: &Error) -> bool {
    error.kind() == ErrorKind::Invalid && error.status() == Some(400)
}
