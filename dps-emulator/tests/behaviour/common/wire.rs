//! A plain HTTPS client of the emulator, and the operator's requests.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use dps_emulator::DeviceCredentials;
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use rustls::ClientConfig;
use serde_json::Value;

use super::sas::{FOREVER, Sas, percent};
use super::tls::{Tls, connect, tls};
use super::{Device, TIMEOUT};

/// Where an emulator is, whom to trust, and the operator's key.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) base: String,
    pub(crate) scope: String,
    pub(crate) port: u16,
    pub(crate) policy: String,
    pub(crate) service_key: String,
    ca_pem: String,
    http: reqwest::Client,
}

/// A response, read completely.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Wire {
    pub(crate) fn new(base: &str, scope: &str, ca_pem: &str, connection: &str) -> Self {
        let parts: HashMap<&str, &str> = connection
            .split(';')
            .filter_map(|part| part.split_once('='))
            .collect();
        let port = base.rsplit(':').next().expect("a port");
        let host = base.strip_prefix("https://").expect("HTTPS");
        assert_eq!(parts["HostName"], host);
        Self {
            // The emulator may have another name, which does not resolve.
            base: format!("https://localhost:{port}"),
            scope: scope.to_owned(),
            port: port.parse().expect("a port"),
            policy: parts["SharedAccessKeyName"].to_owned(),
            service_key: parts["SharedAccessKey"].to_owned(),
            ca_pem: ca_pem.to_owned(),
            http: client(tls(ca_pem, None)),
        }
    }

    /// The same emulator, as the operator of another policy.
    pub(crate) fn by(&self, connection: &str) -> Self {
        let field = |name: &str| {
            let mut fields = connection
                .split(';')
                .filter_map(|part| part.split_once('='));
            let field = fields.find(|(key, _)| *key == name);
            field.expect("a field").1.to_owned()
        };
        Self {
            policy: field("SharedAccessKeyName"),
            service_key: field("SharedAccessKey"),
            ..self.clone()
        }
    }

    /// The same emulator, for the devices of another instance.
    pub(crate) fn of_scope(&self, scope: &str) -> Self {
        Self {
            scope: scope.to_owned(),
            ..self.clone()
        }
    }

    /// A client that follows no redirect.
    pub(crate) fn without_redirects(&self) -> reqwest::Client {
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&self.ca_pem, None))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .expect("a client")
    }

    /// A device of this id, which has nothing to show yet.
    pub(crate) fn device(&self, id: &str) -> Device {
        Device::new(self.clone(), id)
    }

    /// The same emulator, called by a client that presents this chain.
    pub(crate) fn showing(&self, chain_pem: &str, credentials: &DeviceCredentials) -> Self {
        self.presenting(chain_pem, credentials.private_key_pem())
    }

    /// The same emulator, called by a client that presents this chain and key without checking them.
    pub(crate) fn presenting(&self, chain_pem: &str, key_pem: &str) -> Self {
        Self {
            http: client(tls(&self.ca_pem, Some((chain_pem, key_pem)))),
            ..self.clone()
        }
    }

    /// The same emulator, called from this address of the machine.
    pub(crate) fn bound_to(&self, address: IpAddr) -> Self {
        let tls = tls(&self.ca_pem, None);
        Self {
            http: client_from(tls, Some(address)),
            ..self.clone()
        }
    }

    /// A request as it is, without any header of ours.
    pub(crate) fn request(&self, method: &str, path_and_query: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let url = format!("{}{path_and_query}", self.base);
        self.http.request(method, url)
    }

    /// A connection with nothing but TLS on it.
    pub(crate) async fn connect(&self) -> Tls {
        self.connect_to(self.port).await
    }

    /// The same to another port, for MQTT and AMQP.
    pub(crate) async fn connect_to(&self, port: u16) -> Tls {
        let connected = connect(port, tls(&self.ca_pem, None)).await;
        connected.expect("TLS")
    }

    /// The claims of an operator's token.
    pub(crate) fn service_sas(&self) -> Sas {
        Sas {
            sr: percent(&format!("localhost:{}", self.port)),
            se: FOREVER,
            skn: Some(self.policy.clone()),
        }
    }

    /// An operator's request.
    pub(crate) fn service(&self, method: &str, path: &str) -> RequestBuilder {
        self.service_at("2021-10-01", method, path)
    }

    /// An operator's request with this api-version.
    pub(crate) fn service_at(&self, version: &str, method: &str, path: &str) -> RequestBuilder {
        self.request(method, &format!("{path}?api-version={version}"))
            .header("Authorization", self.service_sas().sign(&self.service_key))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.service("GET", path)).await
    }

    /// Creates an enrollment. Returns the document of the answer.
    pub(crate) async fn create(&self, path: &str, document: &Value) -> Value {
        let answer = self.put(path, document).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    pub(crate) async fn put(&self, path: &str, document: &Value) -> Answer {
        Answer::to(self.service("PUT", path).json(document)).await
    }

    pub(crate) async fn put_if(&self, path: &str, etag: &str, document: &Value) -> Answer {
        let request = self.service("PUT", path).header("If-Match", etag);
        Answer::to(request.json(document)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::to(self.service("DELETE", path)).await
    }

    /// Returns the keys of an enrollment, which only this request reads.
    pub(crate) async fn attestation(&self, path: &str) -> Value {
        let path = format!("{path}/attestationmechanism");
        let answer = Answer::to(self.service("POST", &path)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

impl Answer {
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.expect("an answer");
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a body"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().expect("text"))
    }

    /// Asserts an error, by its code, the first three digits of which are the status, and its message.
    #[track_caller]
    pub(crate) fn assert_error(&self, code: u64, message: &str) {
        assert_eq!(u64::from(self.status), code / 1000, "{self:?}");
        let body = self.json();
        assert_eq!(body["errorCode"], code, "{self:?}");
        assert_eq!(body["message"], message, "{self:?}");
    }
}

fn client(tls: ClientConfig) -> reqwest::Client {
    client_from(tls, None)
}

fn client_from(tls: ClientConfig, address: Option<IpAddr>) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .local_address(address)
        .no_proxy()
        .connect_timeout(Duration::from_secs(10))
        .timeout(TIMEOUT)
        .build()
        .expect("a client")
}
