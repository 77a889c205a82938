//! A client of another vendor: a program that takes one request as JSON and prints one outcome as JSON.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use crate::emulator::Emulator;
use crate::scenario::{Proof, Scenario};

/// When the client gives up.
const CLIENT_DEADLINE: Duration = Duration::from_secs(30);
/// When we give the client up.
const PROCESS_DEADLINE: Duration = Duration::from_secs(45);

/// How to run one client over one transport.
///
/// The program's argument is the request, described in `node/register.mjs`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Client {
    program: &'static str,
    /// In the folder of this crate.
    script: &'static str,
    transport: &'static str,
    /// The environment variable that names a file with the roots to trust.
    roots: &'static str,
}

impl Client {
    /// Microsoft's `azure-iot-provisioning-device` over HTTPS.
    pub const NODE_HTTP: Self = Self {
        program: "node",
        script: "node/register.mjs",
        transport: "http",
        roots: "NODE_EXTRA_CA_CERTS",
    };

    /// Registers the device of the scenario.
    ///
    /// # Panics
    /// When the program does not run, does not end or does not print an outcome.
    pub async fn register(&self, emulator: &Emulator, scenario: &Scenario) -> Outcome {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.script);
        let run = Command::new(self.program)
            .arg(script)
            .arg(self.request(emulator, scenario).to_string())
            .env(self.roots, emulator.ca_pem())
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

    fn request(&self, emulator: &Emulator, scenario: &Scenario) -> Value {
        let mut request = json!({
            "transport": self.transport,
            "host": "localhost",
            "idScope": emulator.id_scope(),
            "registrationId": scenario.device.as_str(),
            "timeoutSeconds": CLIENT_DEADLINE.as_secs(),
        });
        match &scenario.proof {
            Proof::Key(key) => request["key"] = json!(*key.to_base64()),
            Proof::Certificate(certificate) => {
                request["cert"] = json!(certificate.chain);
                request["privateKey"] = json!(certificate.key);
            }
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
