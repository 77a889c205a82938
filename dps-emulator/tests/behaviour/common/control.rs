//! The control endpoint of an emulator, over plain HTTP.

use dps_emulator::{ControlEndpoint, EmulatorBuilder};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use super::{Answer, Dps, Wire};

/// A client of the control endpoint.
#[derive(Clone)]
pub(crate) struct Control {
    pub(crate) url: String,
    http: reqwest::Client,
}

impl Control {
    pub(crate) fn of(dps: &Dps) -> Self {
        let url = dps.emulator.control_url().expect("a control endpoint");
        Self::at(url, dps)
    }

    pub(crate) fn at(url: &str, wire: &Wire) -> Self {
        Self {
            url: url.to_owned(),
            http: wire.without_redirects(),
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request("GET", path)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(method, path).json(body)).await
    }

    /// A list of exchanges, the newest first.
    pub(crate) async fn exchanges(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/exchanges?{query}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let list = answer.json()["exchanges"].take();
        serde_json::from_value(list).expect("a list")
    }
}

/// With a control endpoint on a free port.
pub(crate) fn with_control(builder: EmulatorBuilder) -> EmulatorBuilder {
    builder.control(ControlEndpoint::default())
}
