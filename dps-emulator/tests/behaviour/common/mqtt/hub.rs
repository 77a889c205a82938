//! A device at a hub: how it connects, and the topics.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::common::{
    Answer, Client, Connect, Dps, FOREVER, KEY_1, KEY_2, Sas, Tls, Transport, key_enrollment,
    subscribe, with,
};

pub(crate) const RESPONSES: &str = "$iothub/twin/res/#";
pub(crate) const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";
pub(crate) const GET: &str = "$iothub/twin/GET/?$rid=";
pub(crate) const REPORT: &str = "$iothub/twin/PATCH/properties/reported/?$rid=";

impl Connect {
    /// As the Python client connects to its hub, without a password.
    pub(crate) fn to_hub(hub: &str, id: &str) -> Self {
        let username =
            format!("{hub}/{id}/?api-version=2019-10-01&DeviceClientType=azure-iot-device%2F2.14");
        Self::of(id).username(&username)
    }

    /// A module of `dev-1`, with a token that this key signed.
    pub(crate) fn to_hub_as_module(module: &str, key: &str) -> Self {
        let username = format!("127.0.0.1/dev-1/{module}/?api-version=2021-04-12");
        let resource = format!("127.0.0.1/devices/dev-1/modules/{module}");
        let token = Sas::at_hub(&resource).sign(key);
        Self::of(&format!("dev-1/{module}"))
            .username(&username)
            .password(&token)
    }

    /// With a token that this key signed.
    pub(crate) fn to_hub_with_key(hub: &str, id: &str, key: &str) -> Self {
        Self::to_hub(hub, id).password(&hub_token(hub, id, key, FOREVER))
    }
}

/// `SharedAccessSignature sr=localhost%2Fdevices%2Fdev-1&sig=…&se=…`
pub(crate) fn hub_token(hub: &str, id: &str, key: &str, se: u64) -> String {
    Sas::at_hub(&format!("{hub}/devices/{id}")).se(se).sign(key)
}

impl Dps {
    /// The device `dev-1`, assigned to the hub `127.0.0.1`, with this initial twin.
    pub(crate) async fn with_assigned(initial: Value) -> Self {
        let dps = Self::start().await;
        let document = key_enrollment("dev-1", KEY_1, KEY_2);
        let document = with(document, json!({ "initialTwin": initial }));
        dps.create("/enrollments/dev-1", &document).await;
        dps.still_serves().await;
        dps
    }

    /// A back end's request to the hub.
    pub(crate) fn hub_request(&self, method: &str, path: &str) -> RequestBuilder {
        self.hub_api("127.0.0.1").request(method, path)
    }

    /// Sends a back end's request to the hub. Returns the status, the lock token and the document.
    pub(crate) async fn ask_hub(&self, request: RequestBuilder) -> (u16, Option<String>, Value) {
        let answer = Answer::to(request).await;
        let etag = answer.header("etag");
        let etag = etag.map(|etag| etag.trim_matches('"').to_owned());
        let document = serde_json::from_str(&answer.text).unwrap_or_default();
        (answer.status, etag, document)
    }

    /// The device at its hub, connected and subscribed to answers.
    pub(crate) async fn at_hub(&self) -> Client<Tls> {
        let mut client = self.mqtt().await;
        client
            .connect(&Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1))
            .await;
        client.listen(RESPONSES).await;
        client
    }
}

impl<C: Transport> Client<C> {
    /// Subscribes with QoS 1.
    pub(crate) async fn listen(&mut self, filter: &str) {
        self.send(&subscribe(9, &[(filter, 1)])).await;
        self.expect(b"\x90\x03\x00\x09\x01").await;
    }

    /// Downloads the twin as the Python client does: with a space as the body.
    pub(crate) async fn twin(&mut self) -> Value {
        let response = self.ask(&format!("{GET}t"), b" ").await;
        assert_eq!(response.topic, "$iothub/twin/res/200/?$rid=t");
        response.json()
    }

    /// Reports. Returns the topic of the answer.
    pub(crate) async fn report(&mut self, patch: &Value) -> String {
        let patch = patch.to_string();
        let response = self.ask(&format!("{REPORT}r"), patch.as_bytes()).await;
        assert!(response.body.is_empty(), "{response:?}");
        response.topic
    }
}
