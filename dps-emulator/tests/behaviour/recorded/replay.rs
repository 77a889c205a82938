//! Sends the recorded requests, after the requests that preceded them and were not recorded.

use std::collections::HashMap;

use dps_emulator::CertificateAuthority;
use serde_json::{Value, json};

use super::compare::assert_same;
use crate::common::linked;
use crate::common::{
    Answer, Dps, KEY_1, KEY_2, certificate_group, derive, key_enrollment, key_group,
};

/// The hub of the recorded device.
const HUB: &str = "rk-cli-test-hub.azure-devices.net";
/// The name in the recorded certificate.
const SUBJECT: &str = "enroll_cert_ead0363a";
/// A TPM's endorsement key, as it was recorded.
const ENDORSEMENT_KEY: &str = "AToAAQALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAgAAAAAAAEAibym9HQP9vxCGF5dVc1QQsAGe021aUGJzNol1/gycBx3jFsTpwmWbISRwnFvflWd0w2Mc44FAAZNaJOAAxwZvG8GvyLlHh6fGKdh+mSBL4iLH2bZ4Ry22cB3CJVjXmdGoz9Y/j3/NwLndBxQC+baNvzvyVQZ4/A2YL7vzIIj2ik4y+ve9ir7U0GbNdnxskqK1KFIITVVtkTIYyyFTIR0BySjPrRIDj7r7Mh5uF9HBppGKQCBoVSVV8dI91lNazmSdpGWyqCkO7iM4VvUMv2HT/ym53aYlUrau+Qq87Tu+uQipWYgRdF11KDfcpMHqqzBQQ1NpOJVhrsTrhyJzO7KNw==";

pub(super) struct Replay {
    dps: Dps,
    ca: CertificateAuthority,
    /// Our version of a document, by the path of its last write.
    etags: HashMap<String, String>,
    /// The body that was last sent to a path.
    sent: HashMap<String, Value>,
}

impl Replay {
    pub(super) async fn start() -> Self {
        Self {
            dps: Dps::start_with(|builder| builder.link_hub(linked(HUB))).await,
            ca: CertificateAuthority::new(SUBJECT).expect("a CA"),
            etags: HashMap::new(),
            sent: HashMap::new(),
        }
    }

    /// Replays the recording, and returns the number of exchanges.
    pub(super) async fn run(mut self, recording: &str) -> usize {
        let recording: Value = serde_json::from_str(recording).expect("JSON");
        let exchanges = recording["exchanges"].as_array().expect("exchanges");
        for exchange in exchanges {
            self.prepare(exchange).await;
            let answer = self.ask(exchange).await;
            assert_same(text(&exchange["name"]), exchange, &answer);
        }
        exchanges.len()
    }

    /// Recordings are excerpts: an enrollment that a list does not have was deleted before, and a device in it had registered.
    async fn prepare(&mut self, exchange: &Value) {
        let path = path(exchange);
        if let Some(folder) = path.strip_suffix("/query")
            && !folder.starts_with("/registrations")
        {
            let shown = exchange["responseBody"].to_string();
            let gone = |path: &&String| {
                let (kind, id) = path.rsplit_once('/').expect("an id");
                kind == folder && !shown.contains(&format!("\"{id}\""))
            };
            for path in self.sent.keys().filter(gone) {
                self.dps.delete(path).await;
            }
        }
        let body = &exchange["responseBody"];
        if exchange["method"] == "GET" && path.starts_with("/registrations/") {
            let groups = self.sent.keys().filter(|path| path.contains("Groups/"));
            for group in groups.cloned().collect::<Vec<_>>() {
                if self.dps.get(&group).await.json()["attestation"]["type"] == "symmetricKey" {
                    let keys = self.dps.attestation(&group).await;
                    let id = text(&body["registrationId"]);
                    let key = derive(text(&keys["symmetricKey"]["primaryKey"]), id);
                    self.dps.device(id).key(&key).assigned().await;
                }
            }
        }
    }

    async fn ask(&mut self, exchange: &Value) -> Answer {
        let path = path(exchange);
        let mut request = self.dps.service(text(&exchange["method"]), &path);
        for (name, value) in exchange["requestHeaders"].as_object().expect("headers") {
            // The ETag of the service has been replaced by the emulator's.
            let value = match name.as_str() {
                "If-Match" => &self.etags[&path],
                _ => text(value),
            };
            request = request.header(name, value);
        }
        let mut body = exchange["requestBody"].clone();
        if !body.is_null() {
            self.restore(&path, &mut body);
            request = request.json(&body);
        }
        let answer = Answer::to(request).await;
        if exchange["method"] == "PUT" {
            self.etags
                .insert(path.clone(), text(&answer.json()["etag"]).to_owned());
            self.sent.insert(path, body);
        }
        answer
    }

    /// The recorder has replaced keys and certificates by words, and whole documents by their names.
    fn restore(&self, path: &str, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                if fields.shift_remove("...").is_some() {
                    let mut whole = self.sent[path].clone();
                    for (name, value) in fields.iter() {
                        whole[name] = value.clone();
                    }
                    *value = whole;
                    return;
                }
                for value in fields.values_mut() {
                    self.restore(path, value);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.restore(path, item)),
            Value::String(word) => match word.as_str() {
                "primaryKey" => *value = json!(KEY_1),
                "secondaryKey" => *value = json!(KEY_2),
                "certificate" => *value = json!(self.ca.certificate_pem()),
                word if word.starts_with("{full ") => *value = self.document(word),
                _ => {}
            },
            _ => {}
        }
    }

    fn document(&self, name: &str) -> Value {
        let id = name
            .trim_end_matches('}')
            .rsplit(' ')
            .next()
            .expect("an id");
        match (name.contains("EnrollmentGroup"), name) {
            (true, name) if name.contains("x509") => {
                certificate_group(id, self.ca.certificate_pem())
            }
            (true, _) => key_group(id, KEY_1, KEY_2),
            (false, name) if name.contains("tpm") => json!({
                "registrationId": id,
                "attestation": { "type": "tpm", "tpm": { "endorsementKey": ENDORSEMENT_KEY } },
            }),
            (false, _) => key_enrollment(id, KEY_1, KEY_2),
        }
    }
}

fn path(exchange: &Value) -> String {
    let path = text(&exchange["path"]);
    let path = path.strip_suffix("?api-version=2021-10-01");
    path.expect("an api-version").to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}
