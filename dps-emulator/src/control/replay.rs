//! Answers a recorded session again, and compares the answers.
//!
//! No private key of a device and no valid token is necessary: a recorded certificate chain counts as proven, and a token is
//! signed with the key that the enrollment has now.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use dps_types::IdScope;
use dps_types::protocol::ApiVersion;
use dps_types::protocol::device::{DeviceAction, DeviceRoute};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Control;
use super::recording::VERSION;
use super::replay_proof::Proofs;
use super::reply::{self, Answer, Failure};
use super::request::Ask;
use crate::endpoint::Again;
use crate::recording::{RecordedExchange, differences};

/// The largest document, in bytes. A recording is smaller.
const LIMIT: usize = 64 * 1024 * 1024;
/// The most exchanges of each kind that the report lists.
const MOST: usize = 1000;
/// The number of polls of a registration in progress, and the time between two of them.
const POLLS: usize = 200;
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The status of a registration in progress.
const IN_PROGRESS: u16 = 202;

/// A recording. Other fields are for readers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    version: u64,
    id_scope: IdScope,
    exchanges: Vec<RecordedExchange>,
}

#[derive(Default, Serialize)]
struct Report {
    sent: usize,
    same: usize,
    different: Vec<Different>,
    skipped: Vec<Skipped>,
}

#[derive(Serialize)]
struct Different {
    index: usize,
    request: String,
    differences: Vec<String>,
}

#[derive(Serialize)]
struct Skipped {
    index: usize,
    request: String,
    reason: String,
}

/// `POST /recording/replay`, with the api-version to use in place of the recorded one.
pub(super) async fn answer(control: &Control, ask: Ask, address: SocketAddr) -> Answer {
    let api_version = ask.parameter(ApiVersion::PARAMETER)?;
    let document: Document = ask.json(LIMIT).await?;
    if document.version != VERSION {
        return Err(Failure::invalid(format!(
            "the document has the version {}, and this emulator reads version {VERSION}",
            document.version
        )));
    }
    let mut replay = Replay {
        control,
        address,
        api_version,
        recorded_scope: document.id_scope,
        names: HashMap::new(),
        report: Report::default(),
    };
    for (index, exchange) in document.exchanges.iter().enumerate() {
        replay.exchange(index, exchange).await?;
    }
    reply::ok(&replay.report)
}

struct Replay<'a> {
    control: &'a Control,
    address: SocketAddr,
    api_version: Option<String>,
    recorded_scope: IdScope,
    /// The current operation ids and ETags, by the recorded ones.
    names: HashMap<String, String>,
    report: Report,
}

/// The answer to a request, if there is one.
type Answered = Option<(u16, Bytes)>;

impl Replay<'_> {
    async fn exchange(&mut self, index: usize, recorded: &RecordedExchange) -> Result<(), Failure> {
        let request = || format!("{} {}", recorded.method, recorded.path);
        let answered = match self.send(recorded).await? {
            Ok(answered) => answered,
            Err(reason) => {
                if self.report.skipped.len() < MOST {
                    let (request, reason) = (request(), reason.to_owned());
                    self.report.skipped.push(Skipped {
                        index,
                        request,
                        reason,
                    });
                }
                return Ok(());
            }
        };
        self.report.sent += 1;
        let found = self.compare(recorded, answered);
        if found.is_empty() {
            self.report.same += 1;
        } else if self.report.different.len() < MOST {
            self.report.different.push(Different {
                index,
                request: request(),
                differences: found,
            });
        }
        Ok(())
    }

    /// Sends the request, or returns the reason for which it cannot be sent.
    async fn send(
        &self,
        recorded: &RecordedExchange,
    ) -> Result<Result<Answered, &'static str>, Failure> {
        if recorded.request_bytes.is_some() {
            return Ok(Err("its body is not JSON"));
        }
        let continuation = dps_types::protocol::CONTINUATION;
        if recorded.request_headers.contains_key(continuation) {
            return Ok(Err("it has a continuation token of the recorded emulator"));
        }
        let (path, query) = recorded
            .path
            .split_once('?')
            .unwrap_or((&recorded.path, ""));
        let query = self.query(query);
        let body = recorded.unmasked_body().map(|body| self.renamed(body));
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let headers: Vec<(&str, &str)> = recorded
            .request_headers
            .iter()
            .map(|(name, value)| (name.as_str(), self.now(value)))
            .collect();
        let again = |path| Again {
            method: &recorded.method,
            path,
            query: &query,
            headers: headers.clone(),
            body: body.clone(),
        };
        let gateway = &self.control.gateway;
        let Some(attestation) = &recorded.attestation else {
            let answered = gateway
                .operator_again(&self.control.instances, again(path), self.address)
                .await;
            return Ok(Ok(Some(answered)));
        };
        let Ok(route) = DeviceRoute::parse(&recorded.method, path) else {
            return Ok(Err("its path is not a path of the device API"));
        };
        let route = self.route(route);
        let is_poll = matches!(route.action, DeviceAction::OperationStatus(_));
        if is_poll && recorded.status == IN_PROGRESS {
            return Ok(Err(
                "the registration was in progress: only the last poll is sent",
            ));
        }
        let proofs = match Proofs::new(gateway, &route, attestation, recorded).await? {
            Ok(proofs) => proofs,
            Err(reason) => return Ok(Err(reason)),
        };
        let path = route.path();
        let mut answered = None;
        for presented in proofs.presented() {
            for _ in 0..POLLS {
                let request = again(path.as_str());
                answered = gateway
                    .device_again(request, presented.clone(), self.address)
                    .await;
                let status = answered.as_ref().map(|(status, _)| *status);
                if !is_poll || status != Some(IN_PROGRESS) {
                    break;
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            // Another group may have the device.
            if !matches!(answered, Some((401, _))) {
                break;
            }
        }
        Ok(Ok(answered))
    }

    /// Returns the differences of the answers, and stores the current names.
    fn compare(&mut self, recorded: &RecordedExchange, answered: Answered) -> Vec<String> {
        let Some((status, body)) = answered else {
            return vec!["no answer, because of a fault".to_owned()];
        };
        let body: Option<Value> = serde_json::from_slice(&body).ok();
        if let (Some(before), Some(now)) = (&recorded.response_body, &body) {
            self.store_ids(before, now);
        }
        if status != recorded.status {
            return vec![format!(
                "status: {} recorded, {status} now",
                recorded.status
            )];
        }
        differences(recorded.response_body.as_ref(), body.as_ref())
    }

    fn store_ids(&mut self, recorded: &Value, now: &Value) {
        match (recorded, now) {
            (Value::Object(before), Value::Object(now)) => {
                for (name, recorded) in before {
                    let Some(now) = now.get(name) else { continue };
                    match (name.as_str(), recorded, now) {
                        ("etag" | "operationId", Value::String(recorded), Value::String(now)) => {
                            self.names.insert(recorded.clone(), now.clone());
                        }
                        _ => self.store_ids(recorded, now),
                    }
                }
            }
            (Value::Array(before), Value::Array(now)) => {
                for (recorded, now) in before.iter().zip(now) {
                    self.store_ids(recorded, now);
                }
            }
            _ => {}
        }
    }

    /// The current name. `If-Match` may have quotation marks.
    fn now<'t>(&'t self, recorded: &'t str) -> &'t str {
        let found = self.names.get(recorded);
        let found = found.or_else(|| self.names.get(recorded.trim_matches('"')));
        found.map_or(recorded, String::as_str)
    }

    fn renamed(&self, body: Value) -> Value {
        match body {
            Value::String(text) => self.now(&text).into(),
            Value::Array(items) => items.into_iter().map(|it| self.renamed(it)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(name, value)| (name, self.renamed(value)))
                .collect(),
            other => other,
        }
    }

    /// The query with the api-version that was asked for.
    fn query(&self, recorded: &str) -> String {
        let Some(version) = &self.api_version else {
            return recorded.to_owned();
        };
        let version = dps_types::protocol::encode(version).to_string();
        let pairs = recorded.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if name == ApiVersion::PARAMETER => format!("{name}={version}"),
            _ => pair.to_owned(),
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    /// The route with the id scope and the operation of now.
    fn route(&self, mut route: DeviceRoute) -> DeviceRoute {
        if route.id_scope == self.recorded_scope {
            route.id_scope = self.control.gateway.instance.id_scope.clone();
        }
        if let DeviceAction::OperationStatus(operation) = &mut route.action
            && let Ok(now) = self.now(operation.as_str()).parse()
        {
            *operation = now;
        }
        route
    }
}
