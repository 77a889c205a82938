//! Microsoft's device clients: scripts that read one request and print one result as JSON.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::emulator::Emulator;
use crate::program::Program;
use crate::scenario::{Proof, Scenario};

/// Time limit of the script.
const CLIENT_DEADLINE: Duration = Duration::from_secs(30);
/// Time limit for the process.
const PROCESS_DEADLINE: Duration = Duration::from_secs(45);

/// How to run one client over one transport, and how it reports a failed registration.
///
/// The program's argument is the request, described in `node/register.mjs` and `python/register.py`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    program: Program,
    transport: &'static str,
    /// Expected error for wrong credentials.
    unauthorized: Report,
    /// Expected error for a disabled enrollment.
    disabled: Report,
    /// True if the client decodes answers as ASCII instead of UTF-8.
    reads_ascii: bool,
}

/// How much of the service's answer the client reports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report {
    /// The whole answer.
    Answer,
    /// Only an error of the client: name and message.
    Error(&'static str, &'static str),
}

impl Client {
    /// Microsoft's `azure-iot-provisioning-device` over HTTPS.
    pub(crate) const NODE_HTTP: Self = Self {
        program: Program::Node,
        transport: "http",
        unauthorized: Report::Answer,
        disabled: Report::Answer,
        reads_ascii: false,
    };
    /// The same over MQTT.
    pub(crate) const NODE_MQTT: Self = Self {
        transport: "mqtt",
        // Over MQTT the service refuses the CONNECT packet, without an error code of its own.
        unauthorized: Report::Error("Error", "Connection refused: Not authorized"),
        reads_ascii: true,
        ..Self::NODE_HTTP
    };
    /// The same over MQTT over WebSocket.
    pub(crate) const NODE_MQTT_WS: Self = Self {
        transport: "mqtt-ws",
        ..Self::NODE_MQTT
    };
    /// The same over AMQP. A refused link carries the answer as its description.
    pub(crate) const NODE_AMQP: Self = Self {
        transport: "amqp",
        ..Self::NODE_HTTP
    };
    /// The same over AMQP over WebSocket.
    pub(crate) const NODE_AMQP_WS: Self = Self {
        transport: "amqp-ws",
        ..Self::NODE_AMQP
    };
    /// Microsoft's `azure-iot-device` over MQTT.
    pub(crate) const PYTHON_MQTT: Self = Self {
        program: Program::Python,
        transport: "mqtt",
        unauthorized: Report::Error(
            "CredentialError",
            "Credentials invalid, could not connect: Connection Refused: not authorised.",
        ),
        // It supports only the statuses `failed` and `assigned`.
        disabled: Report::Error(
            "ClientError",
            "Unexpected failure: Query Status Operation encountered an invalid registration status disabled \
                      with a status code of 200",
        ),
        reads_ascii: false,
    };
    /// The same over MQTT over WebSocket.
    pub(crate) const PYTHON_MQTT_WS: Self = Self {
        transport: "mqtt-ws",
        ..Self::PYTHON_MQTT
    };

    pub(crate) fn program(&self) -> Program {
        self.program
    }

    pub(crate) fn unauthorized(&self) -> Report {
        self.unauthorized
    }

    pub(crate) fn disabled(&self) -> Report {
        self.disabled
    }

    /// Returns the payload as the client decodes it.
    pub(crate) fn reads(&self, payload: &Value) -> Value {
        if !self.reads_ascii {
            return payload.clone();
        }
        // `toString("ascii")` clears the highest bit of each byte.
        let text = payload.to_string().into_bytes();
        let ascii: Vec<u8> = text.into_iter().map(|byte| byte & 0x7f).collect();
        serde_json::from_slice(&ascii).expect("valid JSON, because no byte became a quote")
    }

    /// Registers the device of the scenario.
    ///
    /// # Panics
    /// When the script does not run, does not end in time, or does not print a result.
    pub(crate) async fn register(&self, emulator: &Emulator, scenario: &Scenario) -> Outcome {
        let run = self
            .program
            .script("register", emulator.ca_pem())
            .arg(self.request(emulator, scenario).to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(PROCESS_DEADLINE, run)
            .await
            .unwrap_or_else(|_| panic!("{self:?} did not end"))
            .unwrap_or_else(|error| panic!("{self:?} did not run: {error}"));
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let status = output.status;
        assert!(status.success(), "{self:?} ended with {status}: {stderr}");
        serde_json::from_str(stdout.trim())
            .unwrap_or_else(|error| panic!("{self:?}: {error}: {stdout}{stderr}"))
    }

    /// The argument of the script.
    pub(crate) fn request(&self, emulator: &Emulator, scenario: &Scenario) -> Value {
        let mut request = json!({
            "transport": self.transport,
            "host": "localhost",
            "idScope": emulator.id_scope(),
            "timeoutSeconds": CLIENT_DEADLINE.as_secs(),
        });
        let has_default_id =
            matches!(&scenario.proof, Proof::Tpm(tpm) if *tpm.registration_id() == scenario.device);
        if !has_default_id {
            request["registrationId"] = json!(scenario.device.as_str());
        }
        match &scenario.proof {
            Proof::Key(key) => request["key"] = json!(*key.to_base64()),
            Proof::Certificate(certificate) => {
                request["cert"] = json!(certificate.chain);
                request["privateKey"] = json!(certificate.key);
            }
            Proof::Tpm(tpm) => request["tpmPort"] = json!(tpm.swtpm().port()),
        }
        if let Some(payload) = &scenario.payload {
            request["payload"] = payload.clone();
        }
        request
    }
}

/// The result of a registration as the client reports it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(
    tag = "outcome",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub(crate) enum Outcome {
    /// The device was assigned.
    Assigned {
        /// The assigned hub.
        assigned_hub: String,
        /// The device id.
        device_id: String,
        /// The substatus.
        substatus: Option<String>,
        /// The payload of the webhook.
        payload: Option<Value>,
        /// The status: `assigned`.
        status: Option<String>,
    },
    /// The registration failed.
    Error {
        /// The name of the client's exception or error class.
        name: Option<String>,
        /// The client's error message.
        message: Option<String>,
        /// The HTTP status.
        status: Option<u16>,
        /// The service's error code.
        error_code: Option<u32>,
        /// The service's response body.
        body: Option<Value>,
    },
}
