//! The service API: enrollments, enrollment groups, attestation mechanisms, registration records.

use std::time::{SystemTime, UNIX_EPOCH};

use ::http::{StatusCode, header};
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::protocol::service::{Crud, ServiceRoute};
use dps_types::protocol::{ApiVersion, IfMatch, decode};
use dps_types::sas::SasToken;
use dps_types::{
    DeviceRegistrationState, ErrorCode, HubHostname, RegistrationId, RegistrationStatus,
    SymmetricKey,
};

use super::body::Call;
use super::reply::Reply;
use super::{Gateway, api_version};
use crate::refusal::Refusal;
use crate::registry::{Document, Registry, with_secrets, without_secrets};

/// A shared access policy of the instance.
#[derive(Debug)]
pub(crate) struct ServicePolicy {
    pub(crate) name: String,
    pub(crate) key: SymmetricKey,
    /// The names that a token may claim.
    pub(crate) hosts: Vec<String>,
}

pub(super) async fn answer(gateway: &Gateway, call: Call) -> Result<Reply, Refusal> {
    let route = ServiceRoute::parse(&call.method, &call.path)?;
    api_version(&call.query)?;
    gateway.policy.authorize(&call, gateway.engine.now())?;
    let service = Service {
        registry: &gateway.engine.registry,
        hubs: gateway.engine.allocator.hub_names(),
        condition: condition(&call)?,
        call: &call,
    };
    match &route {
        ServiceRoute::Individual(id, Crud::Get) => service.get_individual(id).await,
        ServiceRoute::Individual(id, Crud::Put) => {
            Box::pin(service.put::<IndividualEnrollment>(&id.to_key())).await
        }
        ServiceRoute::Individual(id, Crud::Delete) => {
            service.delete::<IndividualEnrollment>(&id.to_key()).await
        }
        ServiceRoute::IndividualAttestation(id) => {
            service
                .attestation::<IndividualEnrollment>(&id.to_key())
                .await
        }
        ServiceRoute::Group(id, Crud::Get) => service.get::<EnrollmentGroup>(&id.to_key()).await,
        ServiceRoute::Group(id, Crud::Put) => {
            Box::pin(service.put::<EnrollmentGroup>(&id.to_key())).await
        }
        ServiceRoute::Group(id, Crud::Delete) => {
            service.delete::<EnrollmentGroup>(&id.to_key()).await
        }
        ServiceRoute::GroupAttestation(id) => {
            service.attestation::<EnrollmentGroup>(&id.to_key()).await
        }
        ServiceRoute::Registration(id, Crud::Get) => service.get_registration(id).await,
        ServiceRoute::Registration(id, Crud::Delete) => service.delete_registration(id).await,
        ServiceRoute::IndividualBulk | ServiceRoute::GroupBulk => {
            Err(Refusal::not_implemented("bulk operations"))
        }
        _ => Err(Refusal::not_implemented("queries")),
    }
}

/// One request, and what it works on.
struct Service<'a> {
    registry: &'a Registry,
    hubs: Vec<HubHostname>,
    condition: Option<IfMatch>,
    call: &'a Call,
}

impl Service<'_> {
    async fn get<D: Document>(&self, key: &str) -> Result<Reply, Refusal> {
        let document: D = self.registry.required_enrollment(key).await?;
        Ok(Reply::json(StatusCode::OK, &without_secrets(&document)))
    }

    /// The only answer that shows the device's registration along with its enrollment.
    async fn get_individual(&self, id: &RegistrationId) -> Result<Reply, Refusal> {
        let document: IndividualEnrollment =
            self.registry.required_enrollment(&id.to_key()).await?;
        let mut shown = without_secrets(&document);
        shown.registration_state = Some(match self.registry.registration(&id.to_key()).await? {
            Some(stored) => stored.record.result(ApiVersion::V2021_10_01).into(),
            None => unassigned(&document.registration_id),
        });
        Ok(Reply::json(StatusCode::OK, &shown))
    }

    async fn put<D: Document>(&self, key: &str) -> Result<Reply, Refusal> {
        let mut document: D = self.call.json()?;
        if document.key() != key {
            return Err(Refusal::invalid(format!(
                "The {} in the body is not the one in the path.",
                D::ID_FIELD
            )));
        }
        document.forget_read_only();
        let document = self
            .registry
            .put_enrollment(document, self.condition.as_ref(), &self.hubs)
            .await?;
        Ok(Reply::json(StatusCode::OK, &with_secrets(&document)))
    }

    async fn delete<D: Document>(&self, key: &str) -> Result<Reply, Refusal> {
        self.registry
            .delete_enrollment::<D>(key, self.condition.as_ref())
            .await?;
        Ok(Reply::no_content())
    }

    async fn attestation<D: Document>(&self, key: &str) -> Result<Reply, Refusal> {
        let document: D = self.registry.required_enrollment(key).await?;
        Ok(Reply::json(
            StatusCode::OK,
            with_secrets(&document).terms().attestation,
        ))
    }

    async fn get_registration(&self, id: &RegistrationId) -> Result<Reply, Refusal> {
        let stored = self.registry.required_registration(id).await?;
        let state: DeviceRegistrationState = stored.record.result(ApiVersion::V2021_10_01).into();
        Ok(Reply::json(StatusCode::OK, &state))
    }

    async fn delete_registration(&self, id: &RegistrationId) -> Result<Reply, Refusal> {
        self.registry
            .delete_registration(id, self.condition.as_ref())
            .await?;
        Ok(Reply::no_content())
    }
}

fn unassigned(id: &RegistrationId) -> DeviceRegistrationState {
    let mut state = DeviceRegistrationState::default();
    state.registration_id = Some(id.clone());
    state.status = Some(RegistrationStatus::Unassigned);
    state
}

fn condition(call: &Call) -> Result<Option<IfMatch>, Refusal> {
    match call.headers.get(header::IF_MATCH) {
        Some(value) => {
            let text = value
                .to_str()
                .map_err(|_| Refusal::invalid("The If-Match header is not text."))?;
            Ok(Some(text.parse()?))
        }
        None => Ok(None),
    }
}

impl ServicePolicy {
    /// Checks the token: claimed host, policy, signature, expiry.
    fn authorize(&self, call: &Call, now: SystemTime) -> Result<(), Refusal> {
        let refused = || Refusal::new(ErrorCode::UNAUTHORIZED, "Unauthorized");
        let text = call
            .header(header::AUTHORIZATION.as_str())
            .ok_or_else(refused)?;
        if text
            .get(..7)
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer "))
        {
            return Err(Refusal::not_implemented(
                "Entra ID tokens; use a shared access policy",
            ));
        }
        let token: SasToken = text.parse().map_err(|_| refused())?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let ours = token
            .policy()
            .is_some_and(|name| name.eq_ignore_ascii_case(&self.name))
            && self.claims(&token, &call.path)
            && token.expiry() >= now
            && token.verify(&self.key);
        ours.then_some(()).ok_or_else(refused)
    }

    /// The claim is to a host of ours, with or without a port, or to a path below it that leads to what is asked for.
    fn claims(&self, token: &SasToken, path: &str) -> bool {
        let resource = token.resource();
        let authority = resource.split('/').next().unwrap_or_default();
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        let ours = self
            .hosts
            .iter()
            .any(|ours| ours.eq_ignore_ascii_case(host));
        ours && decode(path).is_some_and(|path| token.covers(&format!("{authority}{path}")))
    }
}
