//! A device on its hub, and the operator who looks at it there, each with an official client.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Client, Outcome};
use crate::dialogue::Dialogue;
use crate::emulator::Emulator;
use crate::program::Program;
use crate::scenario::Scenario;

/// What a client says that went wrong.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct Trouble {
    /// The client's name for it.
    pub name: String,
    /// The client's words.
    pub message: String,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
}

/// The device of a scenario, which goes home after it has registered. Ends when dropped.
///
/// The commands are described in `python/home.py`.
#[derive(Debug)]
pub struct HubDevice(Dialogue);

impl HubDevice {
    /// Switches it on.
    ///
    /// # Panics
    /// When the program does not run.
    pub fn start(client: &Client, emulator: &Emulator, scenario: &Scenario) -> Self {
        let request = client.request(emulator, scenario).to_string();
        let mut program = client.program().script("home", emulator.ca_pem());
        Self(Dialogue::start(program.arg(request)))
    }

    /// Registers, and remembers the hub.
    ///
    /// # Panics
    /// When the program does not answer with an outcome.
    pub async fn register(&mut self) -> Outcome {
        let outcome = self.ask(json!({ "do": "register" })).await;
        serde_json::from_value(outcome.expect("an outcome")).expect("an outcome")
    }

    /// Connects to the hub, and listens for what the operator wants of it.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn connect(&mut self) -> Result<(), Trouble> {
        self.ask(json!({ "do": "connect" })).await.map(drop)
    }

    /// Its twin: `desired` and `reported`.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn twin(&mut self) -> Result<Value, Trouble> {
        self.ask(json!({ "do": "twin" })).await
    }

    /// Patches its reported properties.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn report(&mut self, patch: Value) -> Result<(), Trouble> {
        let told = self.ask(json!({ "do": "report", "patch": patch })).await;
        told.map(drop)
    }

    /// The next patch of the desired properties; waits for it.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn desired(&mut self) -> Result<Value, Trouble> {
        self.ask(json!({ "do": "desired" })).await
    }

    async fn ask(&mut self, command: Value) -> Result<Value, Trouble> {
        self.0.ask(command).await
    }
}

/// An operator of a hub with Microsoft's `azure-iot-hub` for Python. Ends when dropped.
///
/// The commands are described in `python/hub.py`; devices and twins are as the REST API has them.
#[derive(Debug)]
pub struct HubOperator(Dialogue);

impl HubOperator {
    /// One who may do everything in this hub.
    ///
    /// # Panics
    /// When there is no such hub, or the program does not run.
    pub fn start(emulator: &Emulator, hub: &str) -> Self {
        let mut program = Program::Python.script("hub", emulator.ca_pem());
        let connection = emulator.hub_connection_string(hub);
        Self(Dialogue::start(program.arg(connection)))
    }

    /// Reads a device's identity.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn device(&mut self, id: &str) -> Result<Value, Trouble> {
        self.ask(json!({ "do": "device", "id": id })).await
    }

    /// Removes a device.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn remove(&mut self, id: &str) -> Result<(), Trouble> {
        let removed = self.ask(json!({ "do": "remove", "id": id })).await;
        removed.map(drop)
    }

    /// Reads a device's twin.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn twin(&mut self, id: &str) -> Result<Value, Trouble> {
        self.ask(json!({ "do": "twin", "id": id })).await
    }

    /// Patches a twin, if it has this ETag, and gives it as it is then.
    ///
    /// # Errors
    /// What the client throws.
    pub async fn patch(&mut self, id: &str, patch: &Value, etag: &str) -> Result<Value, Trouble> {
        self.ask(json!({ "do": "patch", "id": id, "patch": patch, "etag": etag }))
            .await
    }

    async fn ask(&mut self, command: Value) -> Result<Value, Trouble> {
        self.0.ask(command).await
    }
}
