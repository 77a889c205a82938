//! The control plane: instances, their keys and their CA certificates, at the paths that Azure Resource Manager uses.
//!
//! Source: the control plane's swagger, api-versions 2022-12-12 and 2026-11-01. Azure requires the right to configure the resource;
//! the emulator requires a policy with ServiceConfig of the first instance or of the instance itself, or a contributor's token.

mod certificates;
mod description;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod path;
mod services;

use std::sync::Arc;

use ::http::{StatusCode, header};
use dps_types::ErrorCode;
use dps_types::protocol::ERROR_CODE;
use serde_json::json;

use super::Gateway;
use super::call::{Call, SERVICE_LIMIT, parameter};
use super::reply::Reply;
use crate::access::ServiceAction;
use crate::instances::{InstanceName, Instances};
use crate::service_error::ServiceError;
use path::{Part, Path, Target};

/// The api-versions of the control plane.
const API_VERSIONS: [&str; 16] = [
    "2017-08-21-preview",
    "2017-11-15",
    "2018-01-22",
    "2020-01-01",
    "2020-03-01",
    "2020-09-01-preview",
    "2021-10-15",
    "2022-02-05",
    "2022-12-12",
    "2023-03-01-preview",
    "2025-02-01-preview",
    "2026-03-01-preview",
    "2026-04-01",
    "2026-06-01-preview",
    "2026-08-01",
    "2026-11-01",
];

/// The api-version of a request that may leave it out.
#[cfg(feature = "control")]
pub(super) const LATEST: &str = "2026-11-01";

/// The first segment of the control plane's paths.
pub(super) const ROOT: &str = "subscriptions";

/// Answers a request. The token is checked before the body is read.
pub(super) async fn answer(instances: &Instances, call: &mut Call) -> Result<Reply, ServiceError> {
    let path = Path::parse(&call.path)?;
    check_api_version(&call.query)?;
    let named = match &path.target {
        Target::Instance { name, .. } => instance(instances, name).await?,
        _ => None,
    };
    authorize(instances, named.as_deref(), call).await?;
    call.receive(SERVICE_LIMIT).await?;
    match &path.target {
        Target::Instance { group, name, part }
            if !matches!(
                part,
                Part::Whole | Part::Skus | Part::Keys | Part::Key(_) | Part::OperationResult
            ) =>
        {
            // A name that no instance has means the first one.
            let gateway = named.as_ref().unwrap_or(instances.first());
            let id = path::resource_id(&path.subscription, group, name);
            certificates::answer(&gateway.instance.cas, call, &id, part).await
        }
        _ => services::answer(instances, call, &path).await,
    }
}

async fn instance(instances: &Instances, name: &str) -> Result<Option<Arc<Gateway>>, ServiceError> {
    match name.parse::<InstanceName>() {
        Ok(name) => instances.named(&name).await,
        Err(_) => Ok(None),
    }
}

/// Accepts a caller of the first instance, or one of the instance that the path names.
async fn authorize(
    instances: &Instances,
    named: Option<&Gateway>,
    call: &Call,
) -> Result<(), ServiceError> {
    let first = instances
        .first()
        .authorize(call, ServiceAction::Configure)
        .await;
    match (first, named) {
        (Err(error), Some(named)) if error.status() == 401 => {
            named.authorize(call, ServiceAction::Configure).await
        }
        (first, _) => first,
    }
}

fn check_api_version(query: &str) -> Result<(), ServiceError> {
    match parameter(query, "api-version")? {
        Some(version) if API_VERSIONS.contains(&&*version) => Ok(()),
        Some(version) => Err(ServiceError::new(
            ErrorCode::INVALID_PROTOCOL_VERSION,
            format!("The api-version '{version}' is not known."),
        )),
        None => Err(ServiceError::new(
            ErrorCode::INVALID_PROTOCOL_VERSION,
            "The api-version query parameter is missing.",
        )),
    }
}

fn method_not_allowed() -> ServiceError {
    ServiceError::new(ErrorCode::METHOD_NOT_ALLOWED, "Method not allowed.")
}

/// An error in the shape of the control plane's `ErrorDetails`.
pub(super) fn error_reply(error: &ServiceError, retry_after: u64) -> Reply {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let name = status.canonical_reason().unwrap_or_default();
    let body = json!({
        "code": error.code().get(),
        "httpStatusCode": name.replace(' ', ""),
        "message": error.message(),
        "details": null,
    });
    let reply = Reply::json(status, &body).with(ERROR_CODE, error.code().get().to_string());
    match error.retry_after(retry_after) {
        Some(seconds) => reply.with(header::RETRY_AFTER.as_str(), seconds.to_string()),
        None => reply,
    }
}
