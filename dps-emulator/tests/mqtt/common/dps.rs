//! An emulator, an operator's requests, and connections of every kind.

use std::collections::HashMap;
use std::sync::Arc;

use dps_emulator::{DeviceCredentials, Emulator, EmulatorBuilder};
use reqwest::{Method, RequestBuilder};
use rustls::crypto::ring;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::sas::sign;
use super::{Client, Connect, FOREVER, KEY_1, KEY_2, TIMEOUT, Tls, Ws, handshake, token};

const ALL: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

pub(crate) struct Dps {
    pub(crate) emulator: Emulator,
    http: reqwest::Client,
}

impl Dps {
    /// An emulator with the hub `127.0.0.1` and a `Retry-After` of zero.
    pub(crate) async fn start() -> Self {
        Self::start_with(|builder| builder).await
    }

    pub(crate) async fn start_with(
        choose: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder,
    ) -> Self {
        let builder = Emulator::builder().retry_after(std::time::Duration::ZERO);
        let emulator = choose(builder).start().await.expect("the emulator starts");
        let tls = config(emulator.ca_pem(), None, ALL);
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .expect("a client");
        Self { emulator, http }
    }

    /// An emulator that knows the device `dev-1` by its keys.
    pub(crate) async fn with_device() -> Self {
        let dps = Self::start().await;
        dps.enroll("dev-1").await;
        dps
    }

    /// Enrolls a device with both keys.
    pub(crate) async fn enroll(&self, id: &str) {
        let document = key_enrollment(id, KEY_1, KEY_2);
        self.create(&format!("/enrollments/{id}"), &document).await;
    }

    pub(crate) async fn create(&self, path: &str, document: &Value) {
        self.create_at("2021-10-01", path, document).await;
    }

    /// As [`create`](Self::create), with this api-version.
    pub(crate) async fn create_at(&self, version: &str, path: &str, document: &Value) {
        let request = self.service_at(version, Method::PUT, path);
        let answer = request.json(document).send();
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    }

    pub(crate) async fn delete(&self, path: &str) {
        let answer = self.service(Method::DELETE, path).send().await;
        assert_eq!(answer.expect("an answer").status(), 204);
    }

    /// An operator's request.
    fn service(&self, method: Method, path: &str) -> RequestBuilder {
        self.service_at("2021-10-01", method, path)
    }

    fn service_at(&self, version: &str, method: Method, path: &str) -> RequestBuilder {
        let connection = self.emulator.service_connection_string();
        let parts: HashMap<&str, &str> = connection
            .split(';')
            .filter_map(|part| part.split_once('='))
            .collect();
        let token = sign(
            parts["HostName"],
            parts["SharedAccessKey"],
            FOREVER,
            parts["SharedAccessKeyName"],
        );
        let url = format!("{}{path}?api-version={version}", self.emulator.https_url());
        self.http
            .request(method, url)
            .header("Authorization", token)
    }

    /// A back end's request to the hub `127.0.0.1`.
    pub(crate) fn hub_request(&self, method: &str, path: &str) -> RequestBuilder {
        let connection = self.hub().connection_string();
        let parts: HashMap<&str, &str> = connection
            .split(';')
            .filter_map(|part| part.split_once('='))
            .collect();
        // The key is base64, which may end with `=`.
        let key = connection.rsplit_once("SharedAccessKey=").expect("a key").1;
        let token = sign(parts["HostName"], key, FOREVER, "iothubowner");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let url = format!("{}{path}?api-version=2021-04-12", self.emulator.https_url());
        self.http
            .request(method, url)
            .header("Authorization", token)
    }

    /// Sends a back end's request to the hub. Returns the status, the lock token and the document.
    pub(crate) async fn ask_hub(&self, request: RequestBuilder) -> (u16, Option<String>, Value) {
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let etag = answer.headers().get("etag");
        let etag = etag.map(|etag| etag.to_str().expect("text").trim_matches('"').to_owned());
        let text = answer.text().await.expect("a body");
        let document = serde_json::from_str(&text).unwrap_or_default();
        (status, etag, document)
    }

    /// A TLS handshake of a client that trusts this CA.
    pub(crate) async fn handshake_trusting(&self, ca_pem: &str) -> std::io::Result<Tls> {
        let connector = TlsConnector::from(Arc::new(config(ca_pem, None, ALL)));
        let stream = TcpStream::connect(("127.0.0.1", self.emulator.mqtt_port())).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        connector.connect(name, stream).await
    }

    /// A device's request over HTTPS.
    pub(crate) async fn device_https(
        &self,
        method: Method,
        id: &str,
        below: &str,
        body: &Value,
    ) -> (u16, Value) {
        let base = self.emulator.https_url();
        let path = format!("/0ne00000001/registrations/{id}{below}?api-version=2019-03-31");
        let request = self
            .http
            .request(method, format!("{base}{path}"))
            .header("Authorization", token(id, KEY_1));
        let answer = request.json(body).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("a JSON body"))
    }

    /// A device's registration over HTTPS, with a token or without.
    pub(crate) async fn device_https_with(
        &self,
        id: &str,
        token: Option<&str>,
        body: &Value,
    ) -> (u16, Value) {
        let base = self.emulator.https_url();
        let path = format!("/0ne00000001/registrations/{id}/register?api-version=2019-03-31");
        let mut request = self.http.request(Method::PUT, format!("{base}{path}"));
        if let Some(token) = token {
            request = request.header("Authorization", token);
        }
        let answer = request.json(body).send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("a JSON body"))
    }

    /// TLS on the MQTT port.
    pub(crate) async fn mqtt(&self) -> Client<Tls> {
        let tls = config(self.emulator.ca_pem(), None, ALL);
        Client::over(connect(self.emulator.mqtt_port(), tls).await)
    }

    /// As the Python SDK does: TLS 1.2.
    pub(crate) async fn mqtt_over_tls12(&self) -> Client<Tls> {
        let tls = config(self.emulator.ca_pem(), None, &[&version::TLS12]);
        Client::over(connect(self.emulator.mqtt_port(), tls).await)
    }

    /// TLS on the MQTT port, showing this chain.
    pub(crate) async fn mqtt_showing(
        &self,
        chain_pem: &str,
        credentials: &DeviceCredentials,
    ) -> Client<Tls> {
        let identity = Some((chain_pem, credentials.private_key_pem()));
        let tls = config(self.emulator.ca_pem(), identity, ALL);
        Client::over(connect(self.emulator.mqtt_port(), tls).await)
    }

    /// TLS on the MQTT port, with this chain and key.
    pub(crate) async fn mqtt_presenting(&self, chain_pem: &str, key_pem: &str) -> Client<Tls> {
        let tls = config(self.emulator.ca_pem(), Some((chain_pem, key_pem)), ALL);
        Client::over(connect(self.emulator.mqtt_port(), tls).await)
    }

    /// A WebSocket for MQTT of a client with this chain and key.
    pub(crate) async fn websocket_presenting(&self, chain_pem: &str, key_pem: &str) -> Client<Ws> {
        let tls = config(self.emulator.ca_pem(), Some((chain_pem, key_pem)), ALL);
        let mut tls = connect(self.emulator.https_port(), tls).await;
        handshake(&mut tls).await;
        Client::over(Ws::over(tls))
    }

    /// TLS on the HTTPS port.
    pub(crate) async fn web(&self) -> Tls {
        let tls = config(self.emulator.ca_pem(), None, ALL);
        connect(self.emulator.https_port(), tls).await
    }

    /// A WebSocket for MQTT.
    pub(crate) async fn websocket(&self) -> Client<Ws> {
        let mut tls = self.web().await;
        handshake(&mut tls).await;
        Client::over(Ws::over(tls))
    }

    /// A WebSocket for MQTT of a client that showed this chain.
    pub(crate) async fn websocket_showing(
        &self,
        chain_pem: &str,
        credentials: &DeviceCredentials,
    ) -> Client<Ws> {
        let identity = Some((chain_pem, credentials.private_key_pem()));
        let tls = config(self.emulator.ca_pem(), identity, ALL);
        let mut tls = connect(self.emulator.https_port(), tls).await;
        handshake(&mut tls).await;
        Client::over(Ws::over(tls))
    }

    /// A device over MQTT that is connected with its key, and subscribed.
    pub(crate) async fn device(&self, id: &str) -> Client<Tls> {
        let mut client = self.mqtt().await;
        client.connect(&Connect::with_key(id, KEY_1)).await;
        client.subscribe().await;
        client
    }

    /// A device over WebSocket that is connected with its key, and subscribed.
    pub(crate) async fn connected_websocket(&self, id: &str) -> Client<Ws> {
        let mut client = self.websocket().await;
        client.connect(&Connect::with_key(id, KEY_1)).await;
        client.subscribe().await;
        client
    }

    /// The device `dev-1` comes through all the way.
    pub(crate) async fn still_serves(&self) {
        let document = self.device("dev-1").await.provision().await;
        assert_eq!(document["status"], "assigned", "{document}");
    }
}

/// An enrollment document of a device with these keys.
pub(crate) fn key_enrollment(id: &str, primary: &str, secondary: &str) -> Value {
    json!({
        "registrationId": id,
        "attestation": {
            "type": "symmetricKey",
            "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary },
        },
    })
}

/// An enrollment document of a device with this certificate.
pub(crate) fn certificate_enrollment(id: &str, pem: &str) -> Value {
    let certificates = json!({ "primary": { "certificate": pem } });
    json!({
        "registrationId": id,
        "attestation": { "type": "x509", "x509": { "clientCertificates": certificates } },
    })
}

/// An enrollment group for what this certificate signed.
pub(crate) fn certificate_group(id: &str, pem: &str) -> Value {
    let certificates = json!({ "primary": { "certificate": pem } });
    json!({
        "enrollmentGroupId": id,
        "attestation": { "type": "x509", "x509": { "signingCertificates": certificates } },
    })
}

/// The document with another field.
pub(crate) fn with(mut document: Value, name: &str, value: impl Into<Value>) -> Value {
    document[name] = value.into();
    document
}

fn config(
    ca_pem: &str,
    identity: Option<(&str, &str)>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate");
    roots.add(ca).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    let Some((chain, key)) = identity else {
        return config.with_no_client_auth();
    };
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    // The server must not rely on what clients check: rustls would refuse a certificate of version 1.
    let key = any_supported_type(&key).expect("a supported key");
    let identity = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    config.with_client_cert_resolver(Arc::new(identity))
}

async fn connect(port: u16, tls: ClientConfig) -> Tls {
    let name = ServerName::try_from("localhost").expect("a name");
    let connected = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        TlsConnector::from(Arc::new(tls))
            .connect(name, stream)
            .await
    };
    let connected = timeout(TIMEOUT, connected).await.expect("in time");
    connected.expect("TLS")
}
