//! An operator of a hub.

use dps_emulator::HubHandle;
use reqwest::RequestBuilder;
use serde_json::Value;

use super::sas::{FOREVER, Sas, percent};
use super::{Answer, Wire};

/// A client of one hub's REST API.
pub(crate) struct HubApi {
    wire: Wire,
    pub(crate) key: String,
}

impl HubApi {
    pub(crate) fn new(wire: &Wire, hub: &HubHandle) -> Self {
        Self::with_connection_string(wire, &hub.connection_string())
    }

    /// `HostName=localhost:…;SharedAccessKeyName=iothubowner;SharedAccessKey=…`
    pub(crate) fn with_connection_string(wire: &Wire, connection: &str) -> Self {
        let head = format!(
            "HostName=localhost:{};SharedAccessKeyName=iothubowner;SharedAccessKey=",
            wire.port
        );
        let key = connection.strip_prefix(&head).expect(connection);
        Self {
            wire: wire.clone(),
            key: key.to_owned(),
        }
    }

    /// The token of `azure-iot-hub` for Python.
    pub(crate) fn sas(&self) -> Sas {
        Sas {
            sr: percent(&format!("localhost:{}", self.wire.port)).replace("%3A", "%3a"),
            se: FOREVER,
            skn: Some("iothubowner".to_owned()),
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.request_with(method, path, &self.sas().sign(&self.key))
    }

    pub(crate) fn request_with(&self, method: &str, path: &str, token: &str) -> RequestBuilder {
        self.wire
            .request(method, &format!("{path}?api-version=2021-04-12"))
            .header("Authorization", token)
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request("GET", path)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, document: &Value) -> Answer {
        Answer::to(self.request(method, path).json(document)).await
    }

    pub(crate) async fn twin(&self, id: &str) -> Value {
        let answer = self.get(&format!("/twins/{id}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}
