//! Microsoft's service clients: scripts that run one command for each line of JSON.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::Client;
use crate::dialogue::Dialogue;
use crate::emulator::Emulator;
use crate::program::Program;

/// The access policy that every instance has.
const OWNER: &str = "provisioningserviceowner";

/// How to run one of the clients, and how it reports errors of the service.
///
/// The commands are described in `node/service.mjs` and `python/service.py`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceSdk {
    program: Program,
    /// Names of the errors by HTTP status.
    errors: [(u16, &'static str); 5],
    device_client: Client,
}

impl ServiceSdk {
    /// Microsoft's `azure-iot-provisioning-service` 1.11.2 for Node.
    ///
    /// It uses the errors of the IoT hub client: the message is the whole answer as text, or `Not found`; status 403 is
    /// `TooManyDevicesError`. It has no bulk operation for groups, and supports port 443 only.
    pub(crate) const NODE: Self = Self {
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
    /// It has no error class for 412. It reads the error code from the field that other Azure services use, so its messages
    /// begin with `(None)`. Its retries after throttling are switched off here.
    pub(crate) const PYTHON: Self = Self {
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

    /// The device client for the same language.
    pub(crate) fn device_client(&self) -> &Client {
        &self.device_client
    }

    /// Starts a client with all permissions.
    ///
    /// # Panics
    /// When the program does not run.
    pub(crate) fn owner(&self, emulator: &Emulator) -> Operator {
        self.operator(
            emulator,
            Access::ConnectionString(emulator.connection_string(OWNER)),
        )
    }

    /// Starts a client with these credentials.
    ///
    /// # Panics
    /// When the program does not run.
    pub(crate) fn operator(&self, emulator: &Emulator, access: Access<'_>) -> Operator {
        let mut program = self.program.script("service", emulator.ca_pem());
        Operator {
            sdk: *self,
            dialogue: Dialogue::start(program.arg(access.to_json().to_string())),
        }
    }
}

/// The credentials of a service client.
#[derive(Clone, Copy)]
pub(crate) enum Access<'a> {
    /// A connection string; the client signs its tokens.
    ConnectionString(&'a str),
    /// A shared access signature.
    Sas(&'a str),
    /// An Entra token.
    Bearer(&'a str),
}

/// Leaves out the secret.
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

/// The kind of resource.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// Individual enrollments.
    Enrollments,
    /// Enrollment groups.
    EnrollmentGroups,
    /// Registration records.
    Registrations,
}

/// A running service client. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Operator {
    sdk: ServiceSdk,
    dialogue: Dialogue,
}

impl Operator {
    /// Creates a resource, or replaces it if its ETag matches.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn put(
        &mut self,
        kind: Kind,
        enrollment: &Value,
        etag: Option<&str>,
    ) -> Result<Value, Refusal> {
        self.ask(json!({ "do": "put", "kind": kind, "enrollment": enrollment, "ifMatch": etag }))
            .await
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn get(&mut self, kind: Kind, id: &str) -> Result<Value, Refusal> {
        self.ask(json!({ "do": "get", "kind": kind, "id": id }))
            .await
    }

    /// Deletes a resource if its ETag matches.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn delete(
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
    /// Returns the error that the client throws.
    pub(crate) async fn attestation(&mut self, kind: Kind, id: &str) -> Result<Value, Refusal> {
        self.ask(json!({ "do": "attestation", "kind": kind, "id": id }))
            .await
    }

    /// Runs a bulk operation.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn bulk(
        &mut self,
        kind: Kind,
        mode: &str,
        items: &[Value],
    ) -> Result<Value, Refusal> {
        self.ask(json!({ "do": "bulk", "kind": kind, "mode": mode, "items": items }))
            .await
    }

    /// Runs a query. The fields are those of the scripts: `query` or `group`, `pageSize`, `pages`, `continuation`.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    ///
    /// # Panics
    /// When the answer has no pages.
    pub(crate) async fn query(&mut self, kind: Kind, fields: Value) -> Result<Pages, Refusal> {
        let mut command = json!({ "do": "query", "kind": kind });
        for (name, value) in fields.as_object().expect("fields") {
            command[name] = value.clone();
        }
        let found = self.ask(command).await?;
        Ok(serde_json::from_value(found).expect("pages"))
    }

    /// The service answered with this error code and message, and the client reports them in its own way.
    ///
    /// # Panics
    /// When the error differs.
    #[track_caller]
    pub(crate) fn assert_refused<T: fmt::Debug>(
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

/// The result of a query.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Pages {
    /// The items of each page.
    pub pages: Vec<Vec<Value>>,
    /// The continuation token, if there are more pages.
    pub continuation: Option<String>,
}

/// The error that the client threw.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    /// The name of the client's exception or error class.
    pub name: String,
    /// The client's error message.
    pub message: String,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The service's error code.
    pub error_code: Option<u32>,
    /// The service's response body.
    pub body: Option<Value>,
}
