//! Every operation of the service API in every api-version with an OpenAPI document: the answers match the document.

mod schema;

use std::collections::HashSet;

use dps_device::attestation::TpmKeys;
use dps_emulator::CertificateAuthority;
use dps_hardware::SoftwareTpm;
use serde_json::{Value, json};

use crate::common::{
    Answer, Dps, KEY_1, certificate_enrollment, certificate_group, key_enrollment, key_group,
    shared, with,
};
use schema::Document;

#[tokio::test]
#[ignore = "needs the folder DPS_SHARED: scripts/test recordings"]
async fn answers_fit_the_documents() {
    for (version, file) in [
        ("2017-11-15", "service.json"),
        ("2018-04-01", "service.json"),
        ("2018-09-01-preview", "service.json"),
        ("2021-10-01", "service.json"),
        ("2025-07-01-preview", "service.derived.json"),
    ] {
        let path = shared(&format!("swagger/service/{version}/{file}"));
        let text = std::fs::read_to_string(path).expect("readable");
        let document = Document::parse(text.trim_start_matches('\u{feff}'));
        Check::start(version, document).await.run().await;
    }
}

/// One api-version and its document.
struct Check {
    version: &'static str,
    document: Document,
    dps: Dps,
    ca: CertificateAuthority,
    seen: HashSet<(String, String)>,
}

impl Check {
    async fn start(version: &'static str, document: Document) -> Self {
        Self {
            version,
            document,
            dps: Dps::start().await,
            ca: CertificateAuthority::new("Contoso Root").expect("a CA"),
            seen: HashSet::new(),
        }
    }

    async fn run(mut self) {
        self.enrollments().await;
        self.registrations().await;
        for operation in self.document.operations() {
            assert!(self.seen.contains(&operation), "not asked: {operation:?}");
        }
    }

    async fn enrollments(&mut self) {
        let device = self.ca.issue("dev-x509").expect("a certificate");
        let endorsement = SoftwareTpm::number(1).endorsement_key().to_base64();
        let endorsement = json!({ "type": "tpm", "tpm": { "endorsementKey": endorsement } });
        let everything = json!({
            "deviceId": "toaster-1",
            "initialTwin": { "tags": { "site": { "floor": 3 } }, "properties": { "desired": { "a": { "b": 1 } } } },
            "provisioningStatus": "enabled",
            "reprovisionPolicy": { "updateHubAssignment": true, "migrateDeviceData": true },
            "capabilities": { "iotEdge": false },
            "allocationPolicy": "static",
            "iotHubs": ["127.0.0.1"],
        });
        let certificate = certificate_enrollment("dev-x509", device.certificate_pem());
        let mut individuals = vec![
            with(certificate, everything),
            json!({ "registrationId": "dev-tpm", "attestation": endorsement }),
        ];
        let mut groups = vec![certificate_group("x509", self.ca.certificate_pem())];
        let kinds = self.document.words("AttestationMechanism", "type");
        if kinds.contains(&"symmetricKey") {
            individuals.push(key_enrollment("dev-key", KEY_1, KEY_1));
            groups.push(key_group("key", KEY_1, KEY_1));
        }
        for (folder, list, id, documents) in [
            (
                "/enrollments",
                "enrollments",
                "registrationId",
                &individuals,
            ),
            (
                "/enrollmentGroups",
                "enrollmentGroups",
                "enrollmentGroupId",
                &groups,
            ),
        ] {
            let one = format!("{folder}/{{id}}");
            for document in documents {
                let id = document[id].as_str().expect("an id");
                self.ask("PUT", &one, id, 200, Some(document)).await;
                self.ask("PUT", &one, id, 409, Some(document)).await;
                self.ask("GET", &one, id, 200, None).await;
                self.attestation(folder, id, 200).await;
            }
            self.ask("PUT", &one, "bad", 400, Some(&json!({ id: "bad" })))
                .await;
            self.ask("GET", &one, "missing", 404, None).await;
            self.ask("DELETE", &one, "missing", 404, None).await;
            self.attestation(folder, "missing", 404).await;

            let query = format!("{folder}/query");
            self.ask("POST", &query, "", 200, Some(&json!({ "query": "" })))
                .await;
            let wrong = json!({ "query": "SELECT a" });
            self.ask("POST", &query, "", 400, Some(&wrong)).await;

            for (mode, status) in [("create", 200), ("delete", 200), ("nonsense", 400)] {
                let body = json!({ list: documents, "mode": mode });
                self.ask("POST", folder, "", status, Some(&body)).await;
            }
            let first = &documents[0];
            let id = first[id].as_str().expect("an id");
            // Without bulk operations the enrollment still exists.
            self.dps.delete(&one.replace("{id}", id)).await;
            self.ask("PUT", &one, id, 200, Some(first)).await;
            self.ask("DELETE", &one, id, 204, None).await;
            self.ask("PUT", &one, id, 200, Some(first)).await;
        }
    }

    async fn registrations(&mut self) {
        let device = self.ca.issue("dev-x509").expect("a certificate");
        self.dps.delete("/enrollments/dev-x509").await;
        self.dps
            .device("dev-x509")
            .certificate(&device)
            .assigned()
            .await;
        self.ask("GET", "/registrations/{id}", "dev-x509", 200, None)
            .await;
        let query = "/registrations/{id}/query";
        let shown = self.ask("POST", query, "x509", 200, None).await;
        assert_eq!(shown.as_array().map(Vec::len), Some(1));
        self.ask("DELETE", "/registrations/{id}", "dev-x509", 204, None)
            .await;
        self.ask("GET", "/registrations/{id}", "dev-x509", 404, None)
            .await;
        self.ask("DELETE", "/registrations/{id}", "dev-x509", 404, None)
            .await;
    }

    /// Not in every api-version.
    async fn attestation(&mut self, folder: &str, id: &str, status: u16) {
        let path = format!("{folder}/{{id}}/attestationmechanism");
        if self.has("POST", &path) {
            self.ask("POST", &path, id, status, None).await;
        }
    }

    fn has(&self, method: &str, path: &str) -> bool {
        let operation = (method.to_owned(), path.to_owned());
        self.document.operations().contains(&operation)
    }

    /// Asks, when the document has the operation, and checks the answer.
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        id: &str,
        status: u16,
        body: Option<&Value>,
    ) -> Value {
        if !self.has(method, path) {
            return Value::Null;
        }
        let token = self.dps.service_sas().sign(&self.dps.service_key);
        let url = format!("{}?api-version={}", path.replace("{id}", id), self.version);
        let mut request = self
            .dps
            .request(method, &url)
            .header("Authorization", token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = Answer::to(request).await;
        let what = format!("{} {method} {url}: {answer:?}", self.version);
        assert_eq!(answer.status, status, "{what}");
        if status >= 400 {
            let code = answer.json()["errorCode"].to_string();
            assert_eq!(answer.header("x-ms-error-code"), Some(&*code), "{what}");
        }
        self.document
            .assert_answer(method, path, status, &answer.text);
        self.seen.insert((method.to_owned(), path.to_owned()));
        serde_json::from_str(&answer.text).unwrap_or_default()
    }
}
