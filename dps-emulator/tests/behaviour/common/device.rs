//! A device: what it shows, and its three requests.

use std::time::Duration;

use dps_emulator::DeviceCredentials;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{Answer, Sas, TIMEOUT, Wire};

#[derive(Clone)]
pub(crate) struct Device {
    wire: Wire,
    id: String,
    token: Option<String>,
    version: &'static str,
}

impl Device {
    pub(crate) fn new(wire: Wire, id: &str) -> Self {
        Self {
            wire,
            id: id.to_owned(),
            token: None,
            version: "2021-06-01",
        }
    }

    /// Signs with this key, as most SDKs do.
    pub(crate) fn key(self, key: &str) -> Self {
        let token = Sas::device(&self.wire.scope, &self.id).sign(key);
        self.token(token)
    }

    pub(crate) fn token(self, token: impl Into<String>) -> Self {
        Self {
            token: Some(token.into()),
            ..self
        }
    }

    /// Shows the certificate and the intermediates.
    pub(crate) fn certificate(self, credentials: &DeviceCredentials) -> Self {
        let chain = credentials.certificate_chain_pem();
        self.chain(&chain, credentials)
    }

    /// Presents this chain and key, even if the library would refuse them.
    pub(crate) fn identity(self, chain_pem: &str, key_pem: &str) -> Self {
        Self {
            wire: self.wire.presenting(chain_pem, key_pem),
            ..self
        }
    }

    pub(crate) fn chain(self, chain_pem: &str, credentials: &DeviceCredentials) -> Self {
        Self {
            wire: self.wire.showing(chain_pem, credentials),
            ..self
        }
    }

    /// Speaks this api-version.
    pub(crate) fn version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    /// A request below the device's own path.
    pub(crate) fn request(&self, method: &str, below: &str) -> reqwest::RequestBuilder {
        let (scope, id, version) = (&self.wire.scope, &self.id, self.version);
        let path = format!("/{scope}/registrations/{id}{below}?api-version={version}");
        let request = self.wire.request(method, &path);
        match &self.token {
            Some(token) => request.header("Authorization", token),
            None => request,
        }
    }

    pub(crate) async fn register(&self) -> Answer {
        self.register_with(json!({ "registrationId": self.id }))
            .await
    }

    pub(crate) async fn register_with(&self, body: Value) -> Answer {
        Answer::to(self.request("PUT", "/register").json(&body)).await
    }

    pub(crate) async fn poll(&self, operation: &str) -> Answer {
        Answer::to(self.request("GET", &format!("/operations/{operation}"))).await
    }

    pub(crate) async fn lookup(&self) -> Answer {
        let body = json!({ "registrationId": self.id });
        Answer::to(self.request("POST", "").json(&body)).await
    }

    /// Registers and polls until the operation is complete. Returns the document of the last answer.
    pub(crate) async fn provision(&self) -> Value {
        self.provision_with(json!({ "registrationId": self.id }))
            .await
    }

    pub(crate) async fn provision_with(&self, body: Value) -> Value {
        let answer = self.register_with(body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        let operation = answer.json()["operationId"].clone();
        self.finish(operation.as_str().expect("an operation id"))
            .await
    }

    /// Polls until the operation is complete.
    pub(crate) async fn finish(&self, operation: &str) -> Value {
        let polls = async {
            loop {
                let answer = self.poll(operation).await;
                match answer.status {
                    200 => return answer.json(),
                    202 => sleep(Duration::from_millis(5)).await,
                    _ => panic!("{answer:?}"),
                }
            }
        };
        timeout(TIMEOUT, polls).await.expect("it comes to an end")
    }

    /// Registers. Returns the registration of a device that was assigned.
    pub(crate) async fn assigned(&self) -> Value {
        let mut document = self.provision().await;
        assert_eq!(document["status"], "assigned", "{document}");
        document["registrationState"].take()
    }

    /// Registers. Returns the code and the message of the failure.
    pub(crate) async fn failed(&self) -> (u64, String) {
        let document = self.provision().await;
        assert_eq!(document["status"], "failed", "{document}");
        let state = &document["registrationState"];
        assert_eq!(state["status"], "failed", "{document}");
        (
            state["errorCode"].as_u64().expect("a code"),
            state["errorMessage"].as_str().expect("text").to_owned(),
        )
    }
}
