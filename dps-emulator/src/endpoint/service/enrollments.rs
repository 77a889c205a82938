//! One enrollment or group: get, create or replace, delete, and its secrets.

use ::http::StatusCode;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::{DeviceRegistrationState, EnrollmentGroupId, RegistrationId, RegistrationStatus};

use super::super::reply::Reply;
use super::Service;
use crate::service_error::ServiceError;
use crate::state::{Document, of_version, read_document, with_secrets, without_secrets};

impl Service<'_> {
    pub(super) async fn group(&self, id: &EnrollmentGroupId) -> Result<Reply, ServiceError> {
        let group: EnrollmentGroup = self.state.required_enrollment(&id.to_lowercase()).await?;
        Ok(Reply::json(
            StatusCode::OK,
            &of_version(without_secrets(group), self.api_version),
        ))
    }

    /// The only answer that has the device's registration in its enrollment.
    pub(super) async fn individual(&self, id: &RegistrationId) -> Result<Reply, ServiceError> {
        let key = id.to_lowercase();
        let individual: IndividualEnrollment = self.state.required_enrollment(&key).await?;
        let mut shown = of_version(without_secrets(individual), self.api_version);
        shown.registration_state = Some(match self.state.readable_registration(&key).await? {
            Some(record) => record.result(self.api_version).into(),
            None => unassigned(&shown.registration_id),
        });
        Ok(Reply::json(StatusCode::OK, &shown))
    }

    pub(super) async fn put<D: Document>(&self, key: &str) -> Result<Reply, ServiceError> {
        let condition = self.call.condition()?;
        let document: D = read_document(self.call.json()?)?;
        let mut document = of_version(document, self.api_version);
        if document.key() != key {
            return Err(ServiceError::invalid(format!(
                "The {} in the body is not the one in the path.",
                D::ID_FIELD
            )));
        }
        document.forget_read_only();
        let document = self
            .state
            .put_enrollment(document, condition.as_ref(), &self.hubs)
            .await?;
        Ok(Reply::json(
            StatusCode::OK,
            &of_version(with_secrets(document), self.api_version),
        ))
    }

    pub(super) async fn delete<D: Document>(&self, key: &str) -> Result<Reply, ServiceError> {
        self.state
            .delete_enrollment::<D>(key, self.call.condition()?.as_ref())
            .await?;
        Ok(Reply::no_content())
    }

    pub(super) async fn attestation<D: Document>(&self, key: &str) -> Result<Reply, ServiceError> {
        let document: D = self.state.required_enrollment(key).await?;
        Ok(Reply::json(
            StatusCode::OK,
            with_secrets(document).terms().attestation,
        ))
    }
}

fn unassigned(id: &RegistrationId) -> DeviceRegistrationState {
    let mut state = DeviceRegistrationState::default();
    state.registration_id = Some(id.clone());
    state.status = Some(RegistrationStatus::Unassigned);
    state
}
