//! A back end at the hub: its REST API over HTTPS.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dps_tls::ClientTls;
use dps_types::SymmetricKey;
use dps_types::sas::SasTokenBuilder;
use serde_json::Value;

use super::Result;
use super::emulator::Emulator;

/// The longest time for a request.
const LIMIT: Duration = Duration::from_secs(10);
/// The lifetime of the token.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A client of the hub with the key of its policy.
#[derive(Debug, Clone)]
pub(crate) struct HubClient {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl HubClient {
    pub(crate) fn new(emulator: &Emulator) -> Result<Self> {
        let part = |name: &str| {
            let connection = emulator.hub_connection();
            let mut parts = connection
                .split(';')
                .filter_map(|part| part.split_once('='));
            let found = parts.find(|(key, _)| *key == name);
            found.map_or("", |(_, value)| value)
        };
        let host = part("HostName");
        let expiry = SystemTime::now().duration_since(UNIX_EPOCH)? + LIFETIME;
        let token = SasTokenBuilder::new(host, expiry.as_secs())
            .policy(part("SharedAccessKeyName"))
            .sign_with(&SymmetricKey::from_base64(part("SharedAccessKey"))?);
        let tls = ClientTls::new(emulator.roots().clone()).build()?;
        Ok(Self {
            client: reqwest::Client::builder()
                .tls_backend_preconfigured(tls)
                .timeout(LIMIT)
                .no_proxy()
                .build()?,
            base: format!("https://{host}"),
            token: token.reveal().to_string(),
        })
    }

    /// Sends a request with a JSON document. Returns the status and the document of the answer.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        document: Option<&Value>,
    ) -> Result<(u16, Value)> {
        let mut request = self.request(method, path)?;
        if let Some(document) = document {
            request = request.json(document);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let body = response.bytes().await?;
        Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    /// Sends a cloud-to-device message. Returns the status.
    pub(crate) async fn message(&self, device: &str, body: String) -> Result<u16> {
        let request = self
            .request("POST", "/messages/devicebound")?
            .header(
                "iothub-to",
                format!("/devices/{device}/messages/devicebound"),
            )
            .body(body);
        Ok(request.send().await?.status().as_u16())
    }

    /// Sends a document to a URL that needs no token.
    pub(crate) async fn put(&self, url: &str, document: &Value) -> Result<()> {
        let response = self.client.put(url).json(document).send().await?;
        response.error_for_status()?;
        Ok(())
    }

    fn request(&self, method: &str, path: &str) -> Result<reqwest::RequestBuilder> {
        let url = format!("{}{path}?api-version=2021-04-12", self.base);
        Ok(self
            .client
            .request(method.parse()?, url)
            .header("Authorization", &self.token))
    }
}
