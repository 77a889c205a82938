//! A device requests a new certificate from its hub: 202 at once, then 200 with the certificate or an error, one request at a time.
//!
//! Source: hub api-version 2025-08-01-preview. Without a request id or a subscription there is no answer.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use dps_mqtt::{Publish, QoS};
use dps_types::hub_certificate::{CertificateRequestAccepted, IssuedCertificates};
use dps_types::protocol::hub_certificate::{RequestTopic, ResponseTopic};
use dps_types::{ErrorCode, ErrorDetails, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::Gateway;
use super::session::{Answer, Message};
use crate::hub::{Identity, NotBegun, Renewal};
use crate::issuance::{Credential, decode_csr};
use crate::service_error::ServiceError;

/// The topics of requests begin with this.
const REQUESTS: &str = "$iothub/credentials/POST/";

/// The certificate request cannot be answered: `info.credentialError` has the cause.
const CREDENTIAL_ERROR: ErrorCode = ErrorCode::new(400_040);
/// Another request of the device is in progress.
const REQUEST_ACTIVE: ErrorCode = ErrorCode::new(409_005);
/// There is no request to replace.
const NOTHING_TO_REPLACE: ErrorCode = ErrorCode::PRECONDITION_FAILED;
/// The device requests too many certificates.
const THROTTLED: ErrorCode = ErrorCode::new(429_002);

/// A certificate request of the client.
pub(super) struct CertificateRequest {
    rid: String,
    body: bytes::Bytes,
}

/// The certificate request that this connection carries out.
pub(super) struct Renewing<'a> {
    renewal: Renewal,
    /// In a mutex, because references to a client move between threads.
    work: Mutex<Work<'a>>,
}

/// A certificate with its issuers, or the reason for which it was not issued.
type Work<'a> = Pin<Box<dyn Future<Output = Result<Vec<String>, Refusal>> + Send + 'a>>;

/// An error, and the member `info` of its body.
struct Refusal {
    error: ServiceError,
    info: Map<String, Value>,
}

/// The members of a valid request.
struct Content {
    csr: Vec<u8>,
    replace: Option<String>,
}

impl CertificateRequest {
    /// Whether a message is for these topics.
    pub(super) fn is_for(topic: &str) -> bool {
        topic.starts_with(REQUESTS)
    }

    /// Reads a message. The error is the reason for which it has no answer.
    pub(super) fn read(publish: Publish) -> Result<Self, String> {
        let topic = &publish.topic;
        let parsed: RequestTopic = topic
            .parse()
            .map_err(|error| format!("no answer to a PUBLISH to '{topic}': {error}"))?;
        match parsed.has_valid_id() {
            true => Ok(Self {
                rid: parsed.rid,
                body: publish.payload,
            }),
            false => Err(format!(
                "no answer to a PUBLISH to '{topic}': the $rid must be 4 to 36 letters, digits and dashes, without a dash at either end"
            )),
        }
    }

    /// Begins the request, and answers with 202 or an error.
    pub(super) async fn answer<'a>(
        self,
        gateway: &'a Gateway,
        identity: &Identity,
        qos: QoS,
    ) -> (Answer, Option<Renewing<'a>>) {
        let rid = self.rid.clone();
        match self.begin(gateway, identity).await {
            Ok((renewal, work)) => {
                let mut accepted = CertificateRequestAccepted::default();
                accepted.correlation_id = Some(renewal.correlation_id.clone());
                accepted.operation_expires = Some(renewal.expires);
                let answer = Answer::Message(message(202, &rid, &accepted, qos));
                let work = Mutex::new(work);
                (answer, Some(Renewing { renewal, work }))
            }
            Err(refusal) => (Answer::Message(refusal.message(&rid, qos)), None),
        }
    }

    async fn begin<'a>(
        self,
        gateway: &'a Gateway,
        identity: &Identity,
    ) -> Result<(Renewal, Work<'a>), Refusal> {
        let content = Content::read(&self.body, identity)?;
        let instance = &gateway.instance;
        let credential = instance.hubs.credential(identity).await?;
        let credential = credential.ok_or_else(|| {
            let message = "The device has no issued certificate: register with a csr first.";
            ServiceError::new(ErrorCode::INVALID_OPERATION, message)
        })?;
        let replace = content.replace.as_deref();
        let begun = instance
            .hubs
            .begin_renewal(identity, self.rid, content.csr, replace);
        let renewal = begun.map_err(not_begun)?;
        let counted = instance
            .throttle
            .certificate(&credential.registration_id, instance.now());
        if let Err(error) = counted.await {
            instance.hubs.end_renewal(identity, &renewal);
            return Err(error.into());
        }
        let work = issue(gateway, renewal.clone(), credential);
        Ok((renewal, Box::pin(work)))
    }
}

impl<'a> Renewing<'a> {
    /// Continues the request that an earlier connection of the device has left.
    pub(super) async fn resume(gateway: &'a Gateway, identity: &Identity) -> Option<Self> {
        let hubs = &gateway.instance.hubs;
        let renewal = hubs.active_renewal(identity)?;
        let credential = hubs.credential(identity).await.ok().flatten()?;
        let work: Work<'a> = Box::pin(issue(gateway, renewal.clone(), credential));
        let work = Mutex::new(work);
        Some(Self { renewal, work })
    }

    /// Waits for the answer. Dropping the future loses nothing.
    pub(super) async fn finish(
        &mut self,
        gateway: &Gateway,
        identity: &Identity,
        qos: QoS,
    ) -> Option<Message> {
        let work = self.work.get_mut().unwrap_or_else(PoisonError::into_inner);
        let issued = work.as_mut().await;
        if !gateway.instance.hubs.end_renewal(identity, &self.renewal) {
            return None;
        }
        let rid = &self.renewal.rid;
        Some(match issued {
            Ok(certificates) => {
                let mut answer = IssuedCertificates::default();
                answer.correlation_id = Some(self.renewal.correlation_id.clone());
                answer.certificates = Some(certificates);
                message(200, rid, &answer, qos)
            }
            Err(refusal) => refusal.message(rid, qos),
        })
    }

    /// Gives the request up, because the session of the client ends.
    pub(super) fn forget(&self, gateway: &Gateway, identity: &Identity) {
        gateway.instance.hubs.end_renewal(identity, &self.renewal);
    }
}

async fn issue(
    gateway: &Gateway,
    renewal: Renewal,
    credential: Credential,
) -> Result<Vec<String>, Refusal> {
    let issuance = &gateway.instance.issuance;
    let (id, issuer) = (&credential.registration_id, &credential.issuer);
    match issuance.verify(&renewal.csr, id, issuer)? {
        Ok(request) => Ok(issuance.sign(&request, &credential).await?),
        Err(refused) => {
            let message = format!("The csr is not valid: {}.", refused.reason);
            let info = [
                ("credentialError", refused.credential_error.into()),
                ("credentialMessage", message.as_str().into()),
                ("correlationId", renewal.correlation_id.into()),
            ];
            Err(Refusal {
                error: ServiceError::new(CREDENTIAL_ERROR, message),
                info: info
                    .map(|(name, value)| (name.to_owned(), value))
                    .into_iter()
                    .collect(),
            })
        }
    }
}

impl Content {
    fn read(body: &[u8], identity: &Identity) -> Result<Self, ServiceError> {
        let json: Value = serde_json::from_slice(body).map_err(|error| {
            let message = format!("The body is not JSON: {error}");
            ServiceError::new(ErrorCode::FORMAT_ERROR, message)
        })?;
        let invalid = |message: &str| ServiceError::invalid(message);
        let Value::Object(members) = json else {
            return Err(invalid("The body must be a JSON object."));
        };
        let known = ["id", "csr", "replace"];
        if let Some(name) = members.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(invalid(&format!("The member '{name}' is not known.")));
        }
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        if text("id") != Some(identity.device_id.as_str()) {
            return Err(invalid("The id must be the device id."));
        }
        let csr = text("csr").filter(|csr| !csr.is_empty());
        let csr = csr.ok_or_else(|| invalid("The csr must be a text."))?;
        let csr = decode_csr(csr)
            .map_err(|reason| invalid(&format!("The csr is not valid: {reason}.")))?;
        let replace = match members.get("replace") {
            None | Some(Value::Null) => None,
            Some(Value::String(replaced))
                if replaced == "*" || RequestTopic::new(replaced.as_str()).has_valid_id() =>
            {
                Some(replaced.clone())
            }
            Some(_) => {
                return Err(invalid("The member replace must be '*' or a request id."));
            }
        };
        Ok(Self { csr, replace })
    }
}

fn not_begun(reason: NotBegun) -> Refusal {
    match reason {
        NotBegun::Active(active) => {
            let message = "Another certificate request of this device is in progress.";
            Refusal {
                error: ServiceError::new(REQUEST_ACTIVE, message),
                info: object(&json!({
                    "requestId": active.rid,
                    "correlationId": active.correlation_id,
                    "operationExpires": active.expires,
                })),
            }
        }
        NotBegun::NothingToReplace => {
            let message = "The certificate request to replace is not in progress.";
            ServiceError::new(NOTHING_TO_REPLACE, message).into()
        }
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

impl From<ServiceError> for Refusal {
    fn from(error: ServiceError) -> Self {
        Self {
            error,
            info: Map::new(),
        }
    }
}

impl Refusal {
    fn message(&self, rid: &str, qos: QoS) -> Message {
        let code = match self.error.code() {
            ErrorCode::THROTTLED => THROTTLED,
            code => code,
        };
        let mut details = ErrorDetails::new(code, self.error.message());
        details.tracking_id = Some(uuid::Uuid::new_v4().to_string());
        details.timestamp_utc = Some(Timestamp::now());
        let info = self
            .info
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        details.info = Some(info.collect()).filter(|_| !self.info.is_empty());
        if let Some(seconds) = self.error.retry_after_seconds {
            details.extra.insert("retryAfter".to_owned(), seconds);
        }
        message(code.http_status(), rid, &details, qos)
    }
}

fn message(status: u16, rid: &str, body: &impl Serialize, qos: QoS) -> Message {
    let topic = ResponseTopic::new(status, rid).to_string();
    let body = serde_json::to_vec(body).unwrap_or_default();
    Message::new(topic, body, qos)
}
