//! A registration over AMQP: SASL, one pair of links, and one request at a time.
//!
//! Requests have the form that every version of the service accepts: the registration id in the body, and a correlation id for each request. Source: the AMQP
//! transports of Microsoft's provisioning device SDKs for C, C#, Java and Node.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;
use dps_amqp::sasl::{self, Tpm};
use dps_amqp::{
    Answer, Body, Client, ClientOptions, Condition, CorrelationId, Frames, Message, Property,
};
use dps_types::protocol::amqp::{self, Address, Operation};
use dps_types::sas::Sign;
use dps_types::tpm::AuthenticationKey;
use dps_types::{ErrorCode, ErrorDetails, OperationId, RegistrationRequest, json};
use tokio::time::Instant;
use tracing::debug;

use super::agent::{AGENT, request_id};
use super::challenge::{in_time, malformed_key, with_keys};
use super::error::TransportError;
use super::reply::Reply;
use super::session::Session;
use super::stream::Stream;
use super::target::Target;
use super::tls_failure;
use super::token::Token;
use crate::attestation::identity::ClientIdentity;
use crate::attestation::proof::Proof;
use crate::attestation::tpm_keys::TpmKeys;
use crate::error::ErrorKind;

/// The limit for one answer. DPS allows a payload of 96 KiB. Source: azure-docs `includes/iot-dps-limits.md`.
pub(super) const MAX_MESSAGE: usize = 256 * 1024;

/// The largest frame that this client accepts.
const MAX_FRAME: usize = 64 * 1024;

/// The longest silence before a new connection is used. Azure's load balancers drop an idle connection after four minutes.
const MAX_IDLE: Duration = Duration::from_secs(180);

/// A proof as AMQP carries it.
pub(super) enum Credentials<'a> {
    Certificate(&'a ClientIdentity),
    Token(Token<'a>),
    Tpm(&'a dyn TpmKeys),
}

impl<'a> Credentials<'a> {
    pub(super) fn new(proof: Proof<'a>, target: &'a Target) -> Result<Self, TransportError> {
        Ok(match proof {
            Proof::Certificate(identity) => Self::Certificate(identity),
            Proof::SharedKey(signer) => Self::Token(Token::new(signer, target)),
            Proof::Tpm(tpm) => Self::Tpm(tpm),
        })
    }

    pub(super) fn identity(&self) -> Option<&'a ClientIdentity> {
        match self {
            Self::Certificate(identity) => Some(identity),
            Self::Token(_) | Self::Tpm(_) => None,
        }
    }
}

/// Authenticates and opens the links.
pub(super) async fn open<'a>(
    stream: Box<dyn Stream>,
    target: &'a Target,
    mut credentials: Credentials<'a>,
) -> Result<Box<dyn Session + 'a>, TransportError> {
    let mut frames = Frames::new(stream, MAX_FRAME);
    authenticate(&mut frames, target, &mut credentials).await?;
    let address = Address::new(target.id_scope().clone(), target.registration_id().clone());
    let options = ClientOptions::new(request_id()?, target.host().as_str(), address.to_string())
        .with_link_property(amqp::API_VERSION, target.api_version().to_string())
        .with_link_property(amqp::CLIENT_VERSION, AGENT)
        .with_max_message(MAX_MESSAGE);
    let state = match Client::open(frames, &options).await {
        Ok(client) => State::Open(Box::new(client)),
        // The reason is the answer to the request that is about to be sent.
        Err(error) => State::Refused(refusal(error)?),
    };
    Ok(Box::new(AmqpSession {
        credentials,
        state,
        used: Instant::now(),
    }))
}

/// Goes through the SASL layer. A device with a certificate has none, as in Microsoft's SDKs.
async fn authenticate(
    frames: &mut Frames<Box<dyn Stream>>,
    target: &Target,
    credentials: &mut Credentials<'_>,
) -> Result<(), TransportError> {
    match credentials {
        Credentials::Certificate(_) => Ok(()),
        Credentials::Token(token) => {
            let token = token.text().await?;
            sasl::plain(frames, &target.resource(), &token)
                .await
                .map_err(failure)
        }
        Credentials::Tpm(tpm) => {
            let registration = (
                target.id_scope().as_str(),
                target.registration_id().as_str(),
            );
            let (step, key) = Tpm::begin(
                frames,
                registration,
                tpm.endorsement_key().as_bytes(),
                tpm.storage_root_key().as_bytes(),
            )
            .await
            .map_err(failure)?;
            let key = AuthenticationKey::parse(&key).map_err(malformed_key)?;
            debug!("the TPM was challenged");
            let opened = tpm.activate(&key);
            // The TPM has half of the time limit, so that a TPM that hangs is not reported as a network failure.
            let limit = target.request_timeout() / 2;
            in_time(opened, limit, "the TPM did not open the challenge").await?;
            let signer: &dyn Sign = *tpm;
            let token = Token::new(signer, target).text().await?;
            step.finish(frames, &token).await.map_err(failure)
        }
    }
}

struct AmqpSession<'a> {
    credentials: Credentials<'a>,
    state: State,
    used: Instant,
}

enum State {
    Open(Box<Client<Box<dyn Stream>>>),
    /// The service refused the connection or a link with this answer.
    Refused(Reply),
}

#[async_trait]
impl Session for AmqpSession<'_> {
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        let json = match &self.credentials {
            Credentials::Tpm(tpm) => serde_json::to_vec(&with_keys(body, *tpm)),
            _ => serde_json::to_vec(body),
        };
        let json = json.map_err(|error| {
            TransportError::new(
                ErrorKind::InvalidConfiguration,
                "the request cannot be encoded",
            )
            .with_source(error)
        })?;
        let request =
            Message::data(json).with_property(amqp::FORCE_REGISTRATION, Property::Boolean(false));
        self.exchange(&Operation::Register, request).await
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        let request = Operation::OperationStatus(operation.clone());
        self.exchange(&request, Message::default()).await
    }

    /// Nothing is sent between two requests, so the service may close the connection. A new one is used then, because a device may
    /// sleep between two requests.
    fn is_stale(&self) -> bool {
        let expires = match &self.credentials {
            Credentials::Token(token) => token.is_stale(),
            Credentials::Certificate(_) | Credentials::Tpm(_) => false,
        };
        let idle = match &self.state {
            State::Open(client) => client.peer_idle_time_out(),
            State::Refused(_) => None,
        };
        let limit = idle.map_or(MAX_IDLE, |idle| MAX_IDLE.min(idle * 4 / 5));
        expires || self.used.elapsed() > limit
    }
}

impl AmqpSession<'_> {
    async fn exchange(
        &mut self,
        operation: &Operation,
        mut request: Message,
    ) -> Result<Reply, TransportError> {
        let client = match &mut self.state {
            State::Open(client) => client,
            State::Refused(reply) => return Ok(reply.clone()),
        };
        request.correlation_id = Some(CorrelationId::text(request_id()?));
        request = request.with_property(
            amqp::OPERATION_TYPE,
            Property::Text(operation.name().to_owned()),
        );
        if let Some(id) = operation.operation_id() {
            request =
                request.with_property(amqp::OPERATION_ID, Property::Text(id.as_str().to_owned()));
        }
        let answer = client.request(&request).await;
        self.used = Instant::now();
        match answer {
            Ok(Answer::Message(message)) => reply(&message),
            Ok(Answer::Rejected(condition)) => Ok(rejection(&condition)),
            Err(error) => refusal(error),
        }
    }
}

impl Drop for AmqpSession<'_> {
    /// Sends close if that is possible without waiting. The connection is closed in any case.
    fn drop(&mut self) {
        if let State::Open(client) = &mut self.state {
            let close = pin!(client.begin_close());
            let _ = close.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// An answer has no status. As over HTTPS, one that asks for a wait is a 202.
fn reply(message: &Message) -> Result<Reply, TransportError> {
    let body = match &message.body {
        Body::Data(bytes) => bytes.clone(),
        Body::Text(text) => text.clone().into_bytes(),
        _ => {
            return Err(TransportError::new(
                ErrorKind::Protocol,
                "the answer of the service has no body: expected a data section with JSON",
            ));
        }
    };
    Ok(match message.retry_after() {
        Some(seconds) => {
            Reply::new(202, body).with_retry_after(Duration::from_secs(seconds.into()))
        }
        None => Reply::new(200, body),
    })
}

/// The service puts the JSON body of its error into the description. The first three digits of its code are the status.
fn rejection(condition: &Condition) -> Reply {
    let description = condition.description.as_deref().unwrap_or_default();
    let details: Option<ErrorDetails> = json::from_str(description).ok();
    let code = details.and_then(|details| details.error_code);
    let reply = match code.and_then(status_of) {
        Some(status) => Reply::new(status, description),
        None => {
            let status = amqp::status(&condition.condition).unwrap_or(400);
            let mut details = ErrorDetails::default();
            details.message = Some(match description {
                "" => condition.condition.clone(),
                text => format!("{}: {text}", condition.condition),
            });
            Reply::new(status, serde_json::to_vec(&details).unwrap_or_default())
        }
    };
    match condition.retry_after {
        Some(seconds) => reply.with_retry_after(Duration::from_secs(seconds.into())),
        None => reply,
    }
}

fn status_of(code: ErrorCode) -> Option<u16> {
    u16::try_from(code.get() / 1000)
        .ok()
        .filter(|status| (400..600).contains(status))
}

/// A connection, session or link that the service ended with a reason is a refused request. Otherwise there is no reply.
fn refusal(error: dps_amqp::Error) -> Result<Reply, TransportError> {
    match error.peer() {
        Some(condition) if !is_forced(condition) => Ok(rejection(condition)),
        _ => Err(failure(error)),
    }
}

/// The service ends connections and links for its own reasons, such as maintenance.
fn is_forced(condition: &Condition) -> bool {
    matches!(
        condition.condition.as_str(),
        "amqp:connection:forced" | "amqp:link:detach-forced" | "amqp:session:window-violation"
    )
}

fn failure(error: dps_amqp::Error) -> TransportError {
    use dps_amqp::ErrorKind as Amqp;

    let (kind, what) = match (tls_failure::describe(&error), error.kind()) {
        (Some(described), _) => described,
        (None, Amqp::Io) => (ErrorKind::Connect, "the connection was lost".into()),
        (None, Amqp::Closed) => (
            ErrorKind::Connect,
            "the service closed the connection".into(),
        ),
        (None, Amqp::Unauthorized) => (
            ErrorKind::Unauthorized,
            "the credentials were refused (SASL outcome 1)".into(),
        ),
        (None, Amqp::Unavailable) => (ErrorKind::Service, "the service is unavailable".into()),
        _ => (
            ErrorKind::Protocol,
            "the peer does not speak AMQP 1.0 as DPS does: check the host, the port and the proxy"
                .into(),
        ),
    };
    let error = TransportError::new(kind, what).with_source(error);
    match (kind, ErrorCode::UNAUTHORIZED.hint()) {
        (ErrorKind::Unauthorized, Some(hint)) => error.with_hint(&format!(
            "{hint}; SASL does not carry the reason, HTTPS does: register over HTTPS to see it"
        )),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_the_reply_that_https_would_have() {
        let body = r#"{"errorCode":429001,"trackingId":"t-1","message":"Throttled."}"#;
        let condition = Condition::new("com.microsoft:device-container-throttled")
            .with_description(body)
            .with_retry_after(7);

        let reply = rejection(&condition);

        assert_eq!(reply.status, 429);
        assert_eq!(reply.body, body.as_bytes());
        assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_rejection_without_json_keeps_its_condition_and_text() {
        for (condition, status) in [
            ("amqp:unauthorized-access", 401),
            ("amqp:not-found", 404),
            ("amqp:internal-error", 500),
            ("contoso:unknown", 400),
        ] {
            let reply = rejection(&Condition::new(condition).with_description("No."));
            assert_eq!(reply.status, status);
            let body = String::from_utf8(reply.body).unwrap();
            assert!(body.contains(&format!("{condition}: No.")), "{body}");
        }
    }
}
