//! A service client of another vendor: a program that takes an operator's commands, and answers each, as lines of JSON.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::Client;
use crate::dialogue::Dialogue;
use crate::emulator::Emulator;
use crate::program::Program;

/// The policy that every instance has.
const OWNER: &str = "provisioningserviceowner";

/// How to run one, and what it calls the service's refusals.
///
/// The commands are described in `node/service.mjs` and `python/service.py`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ServiceSdk {
    program: Program,
    /// Its errors by HTTP status.
    errors: [(u16, &'static str); 5],
    device_client: Client,
}

impl ServiceSdk {
    /// Microsoft's `azure-iot-provisioning-service` 1.11.2 for Node.
    ///
    /// It knows the errors of an IoT hub: the message of one is the service's whole answer as text, or `Not found`; 403
    /// would be `TooManyDevicesError`. It has no bulk operation for groups, and finds the service on port 443 only.
    pub const NODE: Self = Self {
        program: Program::Node,
        errors: [
            (400, "ArgumentError"),
            (401, "UnauthorizedError"),
            (404, "Error"),
            (409, "DeviceAlreadyExistsError"),
            (412, "InvalidEtagError"),
        ],
        device_client: Client::NODE_HTTP,
    };
    /// Microsoft's `azure-iot-deviceprovisioning` 1.0.0b1 for Python.
    ///
    /// It has no error for 412, though azure-core has one. It looks for the code where other services of Azure have it,
    /// so its messages begin with `(None)`. Left alone it tries again what the service throttles; here it does not.
    pub const PYTHON: Self = Self {
        program: Program::Python,
        errors: [
            (400, "HttpResponseError"),
            (401, "ClientAuthenticationError"),
            (404, "ResourceNotFoundError"),
            (409, "ResourceExistsError"),
            (412, "HttpResponseError"),
        ],
        device_client: Client::PYTHON_MQTT,
    };

    /// The same vendor's client for devices.
    pub fn device_client(&self) -> &Client {
        &self.device_client
    }

    /// An operator who may do everything.
    ///
    /// # Panics
    /// When the program does not run.
    pub fn owner(&self, emulator: &Emulator) -> Operator {
        self.operator(
            emulator,
            Access::ConnectionString(emulator.connection_string(OWNER)),
        )
    }

    /// An operator who comes in this way.
    ///
    /// # Panics
    /// When the program does not run.
    pub fn operator(&self, emulator: &Emulator, access: Access<'_>) -> Operator {
        let mut program = self.program.script("service", emulator.ca_pem());
        Operator {
            sdk: *self,
            dialogue: Dialogue::start(program.arg(access.to_json().to_string())),
        }
    }
}

/// How an operator comes in.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Access<'a> {
    /// With the key of a policy: the client signs.
    ConnectionString(&'a str),
    /// With a shared access signature.
    Sas(&'a str),
    /// With a token of Entra.
    Bearer(&'a str),
}

/// Without the secret.
impl fmt::Debug for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionString(_) => "ConnectionString",
            Self::Sas(_) => "Sas",
            Self::Bearer(_) => "Bearer",
        })
    }
}

impl Access<'_> {
    fn to_json(self) -> Value {
        match self {
            Self::ConnectionString(text) => json!({ "connectionString": text }),
            Self::Sas(token) => json!({ "host": "localhost", "sas": token }),
            Self::Bearer(token) => json!({ "host": "localhost", "bearer": token }),
        }
    }
}

/// What an operator works on.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Kind {
    /// Individual enrollments.
    Enrollments,
    /// Enrollment groups.
    EnrollmentGroups,
    /// What came of registrations.
    Registrations,
}

/// An operator at work with an official client. Ends when dropped.
#[derive(Debug)]
pub struct Operator {
    sdk: ServiceSdk,
    dialogue: Dialogue,
}

impl Operator {
    /// Creates, or replaces what has this ETag.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn put(
        &mut self,
        kind: Kind,
        enrollment: &Value,
        etag: Option<&str>,
    ) -> Result<Value, Refusal> {
        self.ask(json!({ "do": "put", "kind": kind, "enrollment": enrollment, "ifMatch": etag }))
            .await
    }

    /// Reads one.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn get(&mut self, kind: Kind, id: &str) -> Result<Value, Refusal> {
        self.ask(json!({ "do": "get", "kind": kind, "id": id }))
            .await
    }

    /// Deletes one, if it has this ETag.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn delete(
        &mut self,
        kind: Kind,
        id: &str,
        etag: Option<&str>,
    ) -> Result<Value, Refusal> {
        self.ask(json!({ "do": "delete", "kind": kind, "id": id, "ifMatch": etag }))
            .await
    }

    /// Reads the attestation mechanism with its keys.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn attestation(&mut self, kind: Kind, id: &str) -> Result<Value, Refusal> {
        self.ask(json!({ "do": "attestation", "kind": kind, "id": id }))
            .await
    }

    /// Runs a bulk operation.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn bulk(
        &mut self,
        kind: Kind,
        mode: &str,
        items: &[Value],
    ) -> Result<Value, Refusal> {
        self.ask(json!({ "do": "bulk", "kind": kind, "mode": mode, "items": items }))
            .await
    }

    /// Asks for pages. The fields are those of the scripts: `query` or `group`, `pageSize`, `pages`, `continuation`.
    ///
    /// # Errors
    /// What the client throws.
    ///
    /// # Panics
    /// When the program does not answer with pages.
    pub async fn query(&mut self, kind: Kind, fields: Value) -> Result<Pages, Refusal> {
        let mut command = json!({ "do": "query", "kind": kind });
        for (name, value) in fields.as_object().expect("fields") {
            command[name] = value.clone();
        }
        let found = self.ask(command).await?;
        Ok(serde_json::from_value(found).expect("pages"))
    }

    /// That the service refused with this code and these words, and the client told so in its own.
    ///
    /// # Panics
    /// When something is not so.
    #[track_caller]
    pub fn assert_refused<T: fmt::Debug>(
        &self,
        answer: Result<T, Refusal>,
        error_code: u32,
        message: &str,
    ) {
        let refusal = answer.expect_err("a refusal");
        let status = u16::try_from(error_code / 1000).expect("an HTTP status");
        let errors = self.sdk.errors;
        let name = errors
            .iter()
            .find(|(of, _)| *of == status)
            .map(|(_, name)| *name);
        assert_eq!(
            (Some(&*refusal.name), refusal.status, refusal.error_code),
            (name, Some(status), Some(error_code)),
            "{refusal:?}"
        );
        let body = refusal.body.as_ref().expect("the service's answer");
        assert_eq!(body["message"], message, "{refusal:?}");
        for given in ["trackingId", "timestampUtc"] {
            assert!(body[given].is_string(), "{given}: {refusal:?}");
        }
    }

    async fn ask(&mut self, command: Value) -> Result<Value, Refusal> {
        self.dialogue.ask(command).await
    }
}

/// What a query found.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct Pages {
    /// What was on each page.
    pub pages: Vec<Vec<Value>>,
    /// Where to go on, when there is more.
    pub continuation: Option<String>,
}

/// What the client threw.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Refusal {
    /// The client's name for it.
    pub name: String,
    /// The client's words.
    pub message: String,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The service's code.
    pub error_code: Option<u32>,
    /// The service's answer.
    pub body: Option<Value>,
}
