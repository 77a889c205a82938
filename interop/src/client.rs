//! A client of another vendor: a program that takes one request as JSON and prints one outcome as JSON.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::emulator::Emulator;
use crate::program::Program;
use crate::scenario::{Proof, Scenario};

/// When the client gives up.
const CLIENT_DEADLINE: Duration = Duration::from_secs(30);
/// When we give the client up.
const PROCESS_DEADLINE: Duration = Duration::from_secs(45);

/// How to run one client over one transport, and how it tells of a registration that came to nothing.
///
/// The program's argument is the request, described in `node/register.mjs` and `python/register.py`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Client {
    program: Program,
    transport: &'static str,
    /// A device that the service does not believe.
    unauthorized: Account,
    /// A device whose enrollment is disabled.
    disabled: Account,
    /// It takes the service's answers for ASCII, though JSON is UTF-8.
    reads_ascii: bool,
}

/// What is left of the service's answer when a client tells of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Account {
    /// All that was in it.
    Answer,
    /// An error of the client's own: its name and its words.
    Error(&'static str, &'static str),
}

impl Client {
    /// Microsoft's `azure-iot-provisioning-device` over HTTPS.
    pub const NODE_HTTP: Self = Self {
        program: Program::Node,
        transport: "http",
        unauthorized: Account::Answer,
        disabled: Account::Answer,
        reads_ascii: false,
    };
    /// The same over MQTT.
    pub const NODE_MQTT: Self = Self {
        transport: "mqtt",
        // Over MQTT the service closes the door at CONNECT and says no more than that.
        unauthorized: Account::Error("Error", "Connection refused: Not authorized"),
        reads_ascii: true,
        ..Self::NODE_HTTP
    };
    /// The same over MQTT over WebSocket.
    pub const NODE_MQTT_WS: Self = Self {
        transport: "mqtt-ws",
        ..Self::NODE_MQTT
    };
    /// Microsoft's `azure-iot-device` over MQTT.
    pub const PYTHON_MQTT: Self = Self {
        program: Program::Python,
        transport: "mqtt",
        unauthorized: Account::Error(
            "CredentialError",
            "Credentials invalid, could not connect: Connection Refused: not authorised.",
        ),
        // It knows of failed and assigned, and of nothing else.
        disabled: Account::Error(
            "ClientError",
            "Unexpected failure: Query Status Operation encountered an invalid registration status disabled \
                      with a status code of 200",
        ),
        reads_ascii: false,
    };
    /// The same over MQTT over WebSocket.
    pub const PYTHON_MQTT_WS: Self = Self {
        transport: "mqtt-ws",
        ..Self::PYTHON_MQTT
    };

    pub(crate) fn program(&self) -> Program {
        self.program
    }

    pub(crate) fn unauthorized(&self) -> Account {
        self.unauthorized
    }

    pub(crate) fn disabled(&self) -> Account {
        self.disabled
    }

    /// What it makes of a payload that the service sends.
    pub(crate) fn reads(&self, payload: &Value) -> Value {
        if !self.reads_ascii {
            return payload.clone();
        }
        // `toString("ascii")` takes the highest bit from each byte.
        let text = payload.to_string().into_bytes();
        let ascii: Vec<u8> = text.into_iter().map(|byte| byte & 0x7f).collect();
        serde_json::from_slice(&ascii).expect("JSON still, as long as no byte became a quote")
    }

    /// Registers the device of the scenario.
    ///
    /// # Panics
    /// When the program does not run, does not end or does not print an outcome.
    pub async fn register(&self, emulator: &Emulator, scenario: &Scenario) -> Outcome {
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

    /// What the program is asked for.
    pub(crate) fn request(&self, emulator: &Emulator, scenario: &Scenario) -> Value {
        let mut request = json!({
            "transport": self.transport,
            "host": "localhost",
            "idScope": emulator.id_scope(),
            "timeoutSeconds": CLIENT_DEADLINE.as_secs(),
        });
        let names_itself =
            matches!(&scenario.proof, Proof::Tpm(tpm) if *tpm.registration_id() == scenario.device);
        if !names_itself {
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

/// What came of a registration, as the client tells it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(
    tag = "outcome",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[non_exhaustive]
pub enum Outcome {
    /// The device has a hub.
    #[non_exhaustive]
    Assigned {
        /// The hub.
        assigned_hub: String,
        /// The device's name in it.
        device_id: String,
        /// How the assignment came about.
        substatus: Option<String>,
        /// What a webhook sent along.
        payload: Option<Value>,
        /// `assigned`.
        status: Option<String>,
    },
    /// It has none.
    #[non_exhaustive]
    Error {
        /// The client's name for it.
        name: Option<String>,
        /// The client's words.
        message: Option<String>,
        /// The HTTP status.
        status: Option<u16>,
        /// The service's code.
        error_code: Option<u32>,
        /// The service's answer.
        body: Option<Value>,
    },
}
