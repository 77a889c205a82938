//! One request and its response: topics are the protocol, bodies are those of HTTPS.

use dps_mqtt::Publish;
use dps_types::protocol::mqtt::{RequestTopic, ResponseTopic};
use dps_types::{RegistrationOperationStatus, RegistrationRequest, RegistrationStatus};

use super::super::Gateway;
use super::super::body::document;
use super::super::reply::error_details;
use super::dps::Client;
use crate::fault::{Met, NOT_JSON, Step};
use crate::service_error::ServiceError;

/// What becomes of a message.
pub(super) enum Answer {
    Response(Response),
    /// Silence.
    Nothing,
    /// The connection must end: the topic is none of DPS's, or a fault wants it.
    End,
}

/// What goes back to the client.
pub(super) struct Response {
    pub(super) topic: String,
    pub(super) body: Vec<u8>,
}

/// Answers a request.
pub(super) async fn answer(gateway: &Gateway, client: &Client<'_>, publish: &Publish) -> Answer {
    let faults = &gateway.faults;
    let (rid, met) = match publish.topic.parse() {
        Ok(RequestTopic::Register { rid }) => {
            let work = register(gateway, client, &publish.payload);
            (rid, faults.meet(Step::Register, work).await)
        }
        Ok(RequestTopic::OperationStatus { rid, operation_id }) => {
            let work = gateway
                .engine
                .operation_status(client.device(), &operation_id);
            (rid, faults.meet(Step::Poll, work).await)
        }
        _ => return Answer::End,
    };
    Answer::Response(match met {
        Ok(Met::Done(status)) => progress(gateway, rid, &status),
        Ok(Met::Malformed) => Response {
            topic: ResponseTopic::new(200, rid).to_string(),
            body: NOT_JSON.to_vec(),
        },
        Ok(Met::Silence) => return Answer::Nothing,
        Ok(Met::Cut) => return Answer::End,
        Err(refusal) => refused(gateway, rid, &refusal),
    })
}

async fn register(
    gateway: &Gateway,
    client: &Client<'_>,
    body: &[u8],
) -> Result<RegistrationOperationStatus, ServiceError> {
    let limit = gateway.message_limit();
    if body.len() > limit {
        return Err(ServiceError::too_large(limit));
    }
    // The C# SDK may send nothing at all: the connection says who it is.
    let request = match body.trim_ascii() {
        [] => RegistrationRequest::default(),
        body => document(body)?,
    };
    gateway.engine.register(client.device(), request).await
}

fn progress(gateway: &Gateway, rid: String, status: &RegistrationOperationStatus) -> Response {
    let topic = match status.status {
        RegistrationStatus::Assigning => {
            ResponseTopic::new(202, rid).with_retry_after(gateway.retry_after_seconds)
        }
        _ => ResponseTopic::new(200, rid),
    };
    Response {
        topic: topic.to_string(),
        body: serde_json::to_vec(status).unwrap_or_default(),
    }
}

fn refused(gateway: &Gateway, rid: String, refusal: &ServiceError) -> Response {
    let retry_after = refusal
        .retry_after_seconds
        .unwrap_or(gateway.retry_after_seconds);
    let topic = ResponseTopic::new(refusal.status(), rid);
    let topic = match refusal.is_transient() {
        true => topic.with_retry_after(retry_after),
        false => topic,
    };
    let details = error_details(refusal, &uuid::Uuid::new_v4().to_string());
    Response {
        topic: topic.to_string(),
        body: serde_json::to_vec(&details).unwrap_or_default(),
    }
}
