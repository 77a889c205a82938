//! A transport with scripted replies, which records the requests and their times.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use dps_device::attestation::Proof;
use dps_device::transport::{Reply, Session, Target, TransportError};
use dps_device::{ErrorKind, ProvisioningClient, SymmetricKey, SymmetricKeyAttestation, Transport};
use dps_types::{OperationId, RegistrationRequest};
use tokio::time::Instant;

/// The key of the documentation's example.
pub(crate) const KEY: &str =
    "18RQk/hOPJR9EbsJlk2j8WA6vWaj/yi+oaYg7zmxfQNdOyMSu+SJ8O7TSlZhDJCYmn4rzEiVKIzNiVAWjLxrGA==";
pub(crate) const OPERATION: &str = "5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550";
pub(crate) const ASSIGNING: &str = r#"{"operationId":"5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550","status":"assigning"}"#;
pub(crate) const ASSIGNED: &str = r#"{"operationId":"5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550","status":"assigned","registrationState":{"symmetricKey":{},"registrationId":"my-device","createdDateTimeUtc":"2022-08-31T22:02:50.5163352Z","assignedHub":"hub.azure-devices.net","deviceId":"my-device","status":"assigned","substatus":"initialAssignment","lastUpdatedDateTimeUtc":"2022-08-31T22:02:50.6963437Z","etag":"IjY5MDAzNTUyLTAwMDAtMDMwMC0wMDAwLTYzMGZkYThhMDAwMCI="}}"#;

/// [`ASSIGNED`] for another device.
pub(crate) fn assigned_as(id: &str) -> String {
    ASSIGNED.replace("my-device", id)
}

pub(crate) const REGISTER: &str = r#"PUT {"registrationId":"my-device"}"#;
pub(crate) const POLL: &str = "GET 5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550";

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Answer(Reply),
    /// The session fails like this.
    Fail(ErrorKind),
    /// The session fails with this error.
    FailWith(FailWith),
    /// There is no answer.
    Silence,
}

#[derive(Clone)]
pub(crate) struct FailWith(Arc<dyn Fn() -> TransportError + Send + Sync>);

impl std::fmt::Debug for FailWith {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FailWith")
    }
}

pub(crate) fn fail_with(error: impl Fn() -> TransportError + Send + Sync + 'static) -> Step {
    Step::FailWith(FailWith(Arc::new(error)))
}

pub(crate) fn answer(status: u16, body: &str) -> Step {
    Step::Answer(Reply::new(status, body))
}

pub(crate) fn answer_after(status: u16, seconds: u64, body: &str) -> Step {
    Step::Answer(Reply::new(status, body).with_retry_after(Duration::from_secs(seconds)))
}

pub(crate) fn assigning() -> Step {
    answer(202, ASSIGNING)
}

pub(crate) fn assigned() -> Step {
    answer(200, ASSIGNED)
}

#[derive(Debug, Clone)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    start: Instant,
    steps: VecDeque<Step>,
    forever: Option<Step>,
    asked: Vec<(Duration, String)>,
    opened: usize,
    open: usize,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(Arc::new(Mutex::new(State {
            start: Instant::now(),
            steps: steps.into_iter().collect(),
            forever: None,
            asked: Vec::new(),
            opened: 0,
            open: 0,
        })))
    }

    pub(crate) fn forever(step: Step) -> Self {
        let script = Self::new([]);
        script.state().forever = Some(step);
        script
    }

    /// A device with a symmetric key and default settings.
    pub(crate) fn client(&self) -> ProvisioningClient {
        let key = SymmetricKey::from_base64(KEY).unwrap();
        let who = SymmetricKeyAttestation::new("my-device".parse().unwrap(), key);
        ProvisioningClient::new("0ne00111111".parse().unwrap(), who, self.clone())
    }

    /// The requests, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        let state = self.state();
        state.asked.iter().map(|(_, what)| what.clone()).collect()
    }

    /// The times between the requests.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        let state = self.state();
        state
            .asked
            .windows(2)
            .map(|pair| pair[1].0 - pair[0].0)
            .collect()
    }

    pub(crate) fn sessions_opened(&self) -> usize {
        self.state().opened
    }

    pub(crate) fn sessions_open(&self) -> usize {
        self.state().open
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn run(&self, asked: String) -> Result<Reply, TransportError> {
        let step = {
            let mut state = self.state();
            let at = state.start.elapsed();
            state.asked.push((at, asked));
            let next = state.steps.pop_front();
            next.or_else(|| state.forever.clone())
        };
        match step.expect("the script is longer than this") {
            Step::Answer(reply) => Ok(reply),
            Step::Fail(kind) => Err(TransportError::new(kind, "the script fails here")),
            Step::FailWith(error) => Err((error.0)()),
            Step::Silence => std::future::pending().await,
        }
    }
}

/// Checks a wait against its limits. The timer rounds up to milliseconds.
#[track_caller]
pub(crate) fn assert_wait(wait: Duration, least: u64, most: u64) {
    let (least, most) = (Duration::from_secs(least), Duration::from_secs(most));
    assert!(
        wait >= least && wait <= most + Duration::from_millis(2),
        "{wait:?} is not within {least:?} and {most:?}"
    );
}

#[async_trait]
impl Transport for Script {
    async fn open<'a>(
        &'a self,
        _: &'a Target,
        _: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        let mut state = self.state();
        state.opened += 1;
        state.open += 1;
        Ok(Box::new(Open(self)))
    }
}

struct Open<'a>(&'a Script);

#[async_trait]
impl Session for Open<'_> {
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        let json = serde_json::to_string(body).unwrap();
        self.0.run(format!("PUT {json}")).await
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        self.0.run(format!("GET {operation}")).await
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}
