//! The OpenAPI document of the control endpoint: it is the published one, and every path in it is answered as it describes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::common::{Control, Dps, with_control};

const PUBLISHED: &str = include_str!("../../src/control/openapi.json");

#[tokio::test]
async fn every_operation_answers_with_a_documented_status() {
    let dps = Dps::start_with(with_control).await;
    let control = Control::of(&dps);
    let served = control.get("/openapi.json").await;
    assert_eq!(served.text, PUBLISHED);
    let document = served.json();
    let paths = document["paths"].as_object().expect("paths");
    let mut ids = BTreeSet::new();
    let mut answered = 0;
    for (path, operations) in paths
        .iter()
        .filter(|(path, _)| *path != "/exchanges/stream")
    {
        let concrete = path
            .replace("{hub}", "127.0.0.1")
            .replace("{deviceId}", "dev-1")
            .replace("{registrationId}", "dev-1")
            .replace("{id}", "7");
        for (method, operation) in operations.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an id");
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            let method = method.to_uppercase();
            for body in [
                None,
                Some(json!({})),
                Some(json!([])),
                Some(json!({ "x": 1 })),
            ] {
                let mut request = control.request(&method, &concrete);
                if let Some(body) = &body {
                    request = request.json(body);
                }
                let answer = crate::common::Answer::to(request).await;
                let documented = &operation["responses"][answer.status.to_string()];
                assert!(
                    documented.is_object(),
                    "{method} {path} {body:?}: {answer:?}"
                );
                if answer.status >= 400 {
                    let error = &answer.json()["error"];
                    assert!(error.is_string(), "{method} {path}: {answer:?}");
                }
                answered += 1;
            }
        }
        let unknown = control.request("TRACE", &concrete);
        let refused = crate::common::Answer::to(unknown).await;
        let known = operations.as_object().expect("operations").keys();
        let known: BTreeSet<String> = known.map(|it| it.to_uppercase()).collect();
        let allow = refused.header("allow").unwrap_or_default();
        let allowed: BTreeSet<String> = allow.split(", ").map(str::to_owned).collect();
        assert_eq!((refused.status, &allowed), (405, &known), "TRACE {path}");
    }
    assert!(answered > 80, "{answered}");
}

#[test]
fn every_reference_of_the_document_exists() {
    fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(PUBLISHED).expect("JSON");
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 5);
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("in the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
