//! One request and its response: topics are the protocol, bodies are those of HTTPS.

use dps_mqtt::Publish;
use dps_types::protocol::mqtt::{RequestTopic, ResponseTopic};
use dps_types::{ErrorCode, RegistrationOperationStatus, RegistrationRequest, RegistrationStatus};

use super::super::Gateway;
use super::super::reply::problem;
use super::connect::Client;
use crate::refusal::Refusal;

/// What goes back to the client.
pub(super) struct Response {
    pub(super) topic: String,
    pub(super) body: Vec<u8>,
}

/// Answers a request. `None` when the topic is none of DPS's.
pub(super) async fn answer(
    gateway: &Gateway,
    client: &Client<'_>,
    publish: &Publish,
) -> Option<Response> {
    let topic: RequestTopic = publish.topic.parse().ok()?;
    let (rid, answer) = match topic {
        RequestTopic::Register { rid } => (rid, register(gateway, client, &publish.payload).await),
        RequestTopic::OperationStatus { rid, operation_id } => (
            rid,
            gateway
                .engine
                .operation_status(client.device(), &operation_id)
                .await,
        ),
        _ => return None,
    };
    Some(match answer {
        Ok(status) => progress(gateway, rid, &status),
        Err(refusal) => refused(gateway, rid, &refusal),
    })
}

async fn register(
    gateway: &Gateway,
    client: &Client<'_>,
    body: &[u8],
) -> Result<RegistrationOperationStatus, Refusal> {
    // The C# SDK may send nothing at all: the connection says who it is.
    let request = match body.trim_ascii() {
        [] => RegistrationRequest::default(),
        body => serde_json::from_slice(body).map_err(|error| {
            Refusal::new(
                ErrorCode::FORMAT_ERROR,
                format!("The body is not a registration: {error}"),
            )
        })?,
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

fn refused(gateway: &Gateway, rid: String, refusal: &Refusal) -> Response {
    let topic = ResponseTopic::new(refusal.status(), rid);
    let topic = match refusal.is_transient() {
        true => topic.with_retry_after(gateway.retry_after_seconds),
        false => topic,
    };
    let problem = problem(refusal, &uuid::Uuid::new_v4().to_string());
    Response {
        topic: topic.to_string(),
        body: serde_json::to_vec(&problem).unwrap_or_default(),
    }
}
