//! A device on its hub and a back end of the hub, each with Microsoft's client.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Client, Outcome};
use crate::dialogue::Dialogue;
use crate::emulator::Emulator;
use crate::program::Program;
use crate::scenario::Scenario;

/// An error that the client reported.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct ClientError {
    /// The name of the client's exception or error class.
    pub name: String,
    /// The client's error message.
    pub message: String,
    /// The HTTP status, if the client reports one.
    pub status: Option<u16>,
}

/// The device of a scenario. The process is killed when this is dropped.
///
/// The commands are described in `python/device_on_hub.py`.
#[derive(Debug)]
pub(crate) struct HubDevice(Dialogue);

impl HubDevice {
    /// Starts the script.
    ///
    /// # Panics
    /// When the program does not run.
    pub(crate) fn start(client: &Client, emulator: &Emulator, scenario: &Scenario) -> Self {
        let request = client.request(emulator, scenario).to_string();
        let mut program = client.program().script("device_on_hub", emulator.ca_pem());
        Self(Dialogue::start(program.arg(request)))
    }

    /// Registers the device; [`HubDevice::connect`] then connects to the assigned hub.
    ///
    /// # Panics
    /// When the program does not answer with an outcome.
    pub(crate) async fn register(&mut self) -> Outcome {
        let outcome = self.ask(json!({ "do": "register" })).await;
        serde_json::from_value(outcome.expect("an outcome")).expect("an outcome")
    }

    /// Connects to the hub and subscribes to changes of the desired properties.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn connect(&mut self) -> Result<(), ClientError> {
        self.ask(json!({ "do": "connect" })).await.map(drop)
    }

    /// Reads the twin: `desired` and `reported`.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn twin(&mut self) -> Result<Value, ClientError> {
        self.ask(json!({ "do": "twin" })).await
    }

    /// Patches its reported properties.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn report(&mut self, patch: Value) -> Result<(), ClientError> {
        let reported = self.ask(json!({ "do": "report", "patch": patch })).await;
        reported.map(drop)
    }

    /// Waits for the next patch of the desired properties.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn desired(&mut self) -> Result<Value, ClientError> {
        self.ask(json!({ "do": "desired" })).await
    }

    async fn ask(&mut self, command: Value) -> Result<Value, ClientError> {
        self.0.ask(command).await
    }
}

/// A back end of a hub with Microsoft's `azure-iot-hub` for Python. The process is killed when this is dropped.
///
/// The commands are described in `python/hub.py`; devices and twins have the format of the REST API.
#[derive(Debug)]
pub(crate) struct HubOperator(Dialogue);

impl HubOperator {
    /// Starts a back end with all permissions on this hub.
    ///
    /// # Panics
    /// When no hub with this name is linked, or the program does not run.
    pub(crate) fn start(emulator: &Emulator, hub: &str) -> Self {
        let mut program = Program::Python.script("hub", emulator.ca_pem());
        let connection = emulator.hub_connection_string(hub);
        Self(Dialogue::start(program.arg(connection)))
    }

    /// Reads a device's identity.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn device(&mut self, id: &str) -> Result<Value, ClientError> {
        self.ask(json!({ "do": "device", "id": id })).await
    }

    /// Removes a device.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn remove(&mut self, id: &str) -> Result<(), ClientError> {
        let removed = self.ask(json!({ "do": "remove", "id": id })).await;
        removed.map(drop)
    }

    /// Reads a device's twin.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn twin(&mut self, id: &str) -> Result<Value, ClientError> {
        self.ask(json!({ "do": "twin", "id": id })).await
    }

    /// Patches a twin if its ETag matches, and returns the new twin.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn patch(
        &mut self,
        id: &str,
        patch: &Value,
        etag: &str,
    ) -> Result<Value, ClientError> {
        self.ask(json!({ "do": "patch", "id": id, "patch": patch, "etag": etag }))
            .await
    }

    /// Sends a command that `python/hub.py` describes.
    ///
    /// # Errors
    /// Returns the error that the client throws.
    pub(crate) async fn ask(&mut self, command: Value) -> Result<Value, ClientError> {
        self.0.ask(command).await
    }
}
