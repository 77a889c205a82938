//! The certificate operations of the control plane, at the path that Azure Resource Manager uses. Any subscription, resource
//! group and name of the instance are accepted, because there is one instance.
//!
//! Source: the control plane's swagger, api-version 2022-12-12. Azure requires the right to configure the resource; the
//! emulator requires a policy with ServiceConfig or a contributor's token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::{StatusCode, header};
use dps_types::protocol::{ERROR_CODE, decode};
use dps_types::{ErrorCode, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::{Call, SERVICE_LIMIT, parameter};
use super::reply::Reply;
use crate::access::ServiceAction;
use crate::ca_certificates::CaCertificate;
use crate::certificate::Certificate;
use crate::instances::Instances;
use crate::service_error::ServiceError;

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

/// The first segment of the control plane's paths.
pub(super) const ROOT: &str = "subscriptions";

/// Answers a request. The token is checked before the body is read.
pub(super) async fn answer(instances: &Instances, call: &mut Call) -> Result<Reply, ServiceError> {
    let gateway = instances.first();
    let path = Path::parse(&call.path)?;
    check_api_version(&call.query)?;
    gateway.authorize(call, ServiceAction::Configure)?;
    call.receive(SERVICE_LIMIT).await?;
    let cas = &gateway.instance.cas;
    let condition = call.condition()?;
    let condition = condition.as_ref();
    let shown = |ca: &CaCertificate| Reply::json(StatusCode::OK, &path.resource(ca));
    match (call.method.as_str(), &path.operation) {
        ("GET", Operation::List) => {
            let all = cas.list().await?;
            let all: Vec<Value> = all.iter().map(|ca| path.resource(ca)).collect();
            Ok(Reply::json(StatusCode::OK, &json!({ "value": all })))
        }
        ("GET", Operation::One(name)) => Ok(shown(&cas.get(name).await?)),
        ("PUT", Operation::One(name)) => {
            let (certificate, is_verified) = call.json::<Upload>()?.content()?;
            let ca = cas.put(name, &certificate, is_verified, condition).await?;
            Ok(shown(&ca))
        }
        ("DELETE", Operation::One(name)) => {
            if condition.is_none() {
                return Err(no_condition());
            }
            Ok(match cas.delete(name, condition).await? {
                true => Reply::empty(StatusCode::OK),
                false => Reply::no_content(),
            })
        }
        ("POST", Operation::GenerateCode(name)) => {
            let ca = cas.generate_code(name, condition).await?;
            Ok(Reply::json(StatusCode::OK, &path.resource_with_code(&ca)))
        }
        ("POST", Operation::Verify(name)) => {
            let (certificate, _) = call.json::<Upload>()?.content()?;
            let ca = cas.verify(name, &certificate, condition).await?;
            Ok(shown(&ca))
        }
        _ => Err(ServiceError::new(
            ErrorCode::METHOD_NOT_ALLOWED,
            "Method not allowed.",
        )),
    }
}

/// A path of the control plane.
struct Path {
    /// `/subscriptions/…/provisioningServices/{name}`, as the client spells it.
    instance: String,
    operation: Operation,
}

enum Operation {
    List,
    One(String),
    GenerateCode(String),
    Verify(String),
}

impl Path {
    /// Segments are compared without regard to case, and a slash at the end is ignored.
    fn parse(path: &str) -> Result<Self, ServiceError> {
        let not_found = || ServiceError::new(ErrorCode::NOT_FOUND, "Not found.");
        let trimmed = path.trim_matches('/');
        let words: Option<Vec<String>> = trimmed.split('/').map(decode).collect();
        let words = words.ok_or_else(not_found)?;
        let is = |index: usize, word: &str| {
            words
                .get(index)
                .is_some_and(|it| it.eq_ignore_ascii_case(word))
        };
        let ours = is(0, "subscriptions")
            && is(2, "resourceGroups")
            && is(4, "providers")
            && is(5, "Microsoft.Devices")
            && is(6, "provisioningServices")
            && is(8, "certificates");
        let name = || words[9].clone();
        let operation = match words.len() {
            9 => Operation::List,
            10 => Operation::One(name()),
            11 if is(10, "generateVerificationCode") => Operation::GenerateCode(name()),
            11 if is(10, "verify") => Operation::Verify(name()),
            _ => return Err(not_found()),
        };
        if !ours {
            return Err(not_found());
        }
        Ok(Self {
            instance: format!(
                "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.Devices/provisioningServices/{}",
                words[1], words[3], words[7]
            ),
            operation,
        })
    }

    /// A certificate as a resource. As in recordings of the service, it has no PEM text.
    fn resource(&self, ca: &CaCertificate) -> Value {
        let certificate = ca.certificate();
        let certificate = certificate.as_ref();
        let info = certificate.map(Certificate::info);
        let subject = certificate.and_then(|it| it.common_name());
        json!({
            "properties": {
                "subject": subject.or(info.map(|info| info.subject_name.as_str())),
                "expiry": info.map(|info| http_date(info.not_after_utc)),
                "thumbprint": info.map(|info| info.sha1_thumbprint.as_str()),
                "isVerified": ca.is_verified,
                "created": http_date(ca.created),
                "updated": http_date(ca.updated),
                "certificate": null,
            },
            "id": format!("{}/certificates/{}", self.instance, ca.name),
            "name": ca.name,
            "type": "Microsoft.Devices/provisioningServices/Certificates",
            "etag": ca.etag,
        })
    }

    /// The only answer with the verification code and the certificate.
    fn resource_with_code(&self, ca: &CaCertificate) -> Value {
        let mut resource = self.resource(ca);
        resource["properties"]["verificationCode"] = json!(ca.verification_code);
        resource["properties"]["certificate"] = json!(ca.der);
        resource
    }
}

/// An uploaded certificate: at the top level, as before 2022-12-12 and always in a proof of possession, or in `properties`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Upload {
    properties: Option<Content>,
    certificate: Option<String>,
    is_verified: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    certificate: Option<String>,
    is_verified: Option<bool>,
}

impl Upload {
    fn content(self) -> Result<(String, bool), ServiceError> {
        let bare = Content {
            certificate: self.certificate,
            is_verified: self.is_verified,
        };
        let content = self.properties.unwrap_or(bare);
        match content.certificate {
            Some(certificate) => Ok((certificate, content.is_verified.unwrap_or(false))),
            None => Err(ServiceError::invalid("A certificate is required.")),
        }
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

fn no_condition() -> ServiceError {
    ServiceError::invalid("The If-Match header is required.")
}

/// `Fri, 06 May 2022 17:50:01 GMT`
fn http_date(moment: Timestamp) -> String {
    let seconds = u64::try_from(moment.unix_seconds()).unwrap_or_default();
    let moment: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
    httpdate::fmt_http_date(moment)
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
