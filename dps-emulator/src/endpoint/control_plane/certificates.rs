//! The CA certificates of an instance.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::http::StatusCode;
use dps_types::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::Reply;
use super::method_not_allowed;
use super::path::Part;
use crate::ca_certificates::{CaCertificate, CaCertificates};
use crate::certificate::Certificate;
use crate::document::add;
use crate::service_error::ServiceError;

/// Answers a request for the certificates of the instance with this resource id.
pub(super) async fn answer(
    cas: &CaCertificates,
    call: &Call,
    instance: &str,
    part: &Part,
) -> Result<Reply, ServiceError> {
    let condition = call.condition()?;
    let condition = condition.as_ref();
    let shown = |ca: &CaCertificate| Reply::json(StatusCode::OK, &resource(instance, ca));
    match (call.method.as_str(), part) {
        ("GET", Part::Certificates) => {
            let all = cas.list().await?;
            let all: Vec<Value> = all.iter().map(|ca| resource(instance, ca)).collect();
            Ok(Reply::json(StatusCode::OK, &json!({ "value": all })))
        }
        ("GET", Part::Certificate(name)) => Ok(shown(&cas.get(name).await?)),
        ("PUT", Part::Certificate(name)) => {
            let (certificate, is_verified) = call.json::<Upload>()?.content()?;
            let ca = cas.put(name, &certificate, is_verified, condition).await?;
            Ok(shown(&ca))
        }
        ("DELETE", Part::Certificate(name)) => {
            if condition.is_none() {
                return Err(no_condition());
            }
            Ok(match cas.delete(name, condition).await? {
                true => Reply::empty(StatusCode::OK),
                false => Reply::no_content(),
            })
        }
        ("POST", Part::GenerateCode(name)) => {
            let ca = cas.generate_code(name, condition).await?;
            let resource = resource_with_code(instance, &ca);
            Ok(Reply::json(StatusCode::OK, &resource))
        }
        ("POST", Part::Verify(name)) => {
            let (certificate, _) = call.json::<Upload>()?.content()?;
            let ca = cas.verify(name, &certificate, condition).await?;
            Ok(shown(&ca))
        }
        _ => Err(method_not_allowed()),
    }
}

/// A certificate as a resource. As in recordings of the service, it has no PEM text.
fn resource(instance: &str, ca: &CaCertificate) -> Value {
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
        "id": format!("{}/certificates/{}", instance, ca.name),
        "name": ca.name,
        "type": "Microsoft.Devices/provisioningServices/Certificates",
        "etag": ca.etag,
    })
}

/// The only answer with the verification code and the certificate.
fn resource_with_code(instance: &str, ca: &CaCertificate) -> Value {
    let mut resource = resource(instance, ca);
    if let Some(properties) = resource.get_mut("properties") {
        add(properties, "verificationCode", json!(ca.verification_code));
        add(properties, "certificate", json!(ca.der));
    }
    resource
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

fn no_condition() -> ServiceError {
    ServiceError::invalid("The If-Match header is required.")
}

/// `Fri, 06 May 2022 17:50:01 GMT`
fn http_date(moment: Timestamp) -> String {
    let seconds = u64::try_from(moment.unix_seconds()).unwrap_or_default();
    let moment: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
    httpdate::fmt_http_date(moment)
}
