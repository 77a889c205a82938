//! One registration record: get, delete.

use ::http::StatusCode;
use dps_types::{DeviceRegistrationState, RegistrationId};

use super::super::reply::Reply;
use super::Service;
use crate::service_error::ServiceError;

impl Service<'_> {
    pub(super) async fn registration(&self, id: &RegistrationId) -> Result<Reply, ServiceError> {
        let stored = self.state.required_registration(id).await?;
        let state: DeviceRegistrationState = stored.record.result(self.api_version).into();
        Ok(Reply::json(StatusCode::OK, &state))
    }

    pub(super) async fn delete_registration(
        &self,
        id: &RegistrationId,
    ) -> Result<Reply, ServiceError> {
        self.state
            .delete_registration(id, self.call.condition()?.as_ref())
            .await?;
        Ok(Reply::no_content())
    }
}
