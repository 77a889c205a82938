//! The part of JSON Schema that the OpenAPI documents of the service use.

use serde_json::Value;

use crate::common::assert_timestamp;

/// An OpenAPI 2.0 document.
pub(super) struct Document(Value);

impl Document {
    pub(super) fn parse(text: &str) -> Self {
        Self(serde_json::from_str(text).expect("JSON"))
    }

    /// Every operation: its method, and its path with `{id}` in it.
    pub(super) fn operations(&self) -> Vec<(String, String)> {
        let paths = self.0["paths"].as_object().expect("paths").iter();
        paths
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().expect("methods").keys();
                methods.map(|method| (method.to_uppercase(), path.clone()))
            })
            .collect()
    }

    /// The words that a property may have.
    pub(super) fn words(&self, definition: &str, property: &str) -> Vec<&str> {
        let words = &self.0["definitions"][definition]["properties"][property]["enum"];
        let words = words.as_array().expect("an enum").iter();
        words.map(|word| word.as_str().expect("a word")).collect()
    }

    /// Asserts that the operation may be answered with this status and body.
    pub(super) fn assert_answer(&self, method: &str, path: &str, status: u16, body: &str) {
        let responses = &self.0["paths"][path][method.to_lowercase()]["responses"];
        let response = responses.get(status.to_string());
        let at = format!("{method} {path}: {status}");
        // The oldest documents list the errors, and describe them under "default" only.
        let schema = response.and_then(|response| response.get("schema"));
        match (schema, status) {
            (Some(schema), _) => self.assert(&at, schema, &json(body)),
            (None, 204) => assert!(response.is_some() && body.is_empty(), "{at}: {body}"),
            (None, 400..) => self.assert(&at, &responses["default"]["schema"], &json(body)),
            _ => panic!("{at} is not documented"),
        }
    }

    fn assert(&self, at: &str, schema: &Value, value: &Value) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.strip_prefix("#/definitions/").expect("a definition");
            let definition = &self.0["definitions"][name];
            assert!(definition.is_object(), "{at}: no definition {name}");
            return self.assert(at, definition, value);
        }
        let typed = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("integer") => value.is_i64(),
            Some(other) => panic!("{at}: a schema of type {other}"),
            None => true,
        };
        assert!(typed, "{at}: {value} is not of type {}", schema["type"]);
        if let Some(words) = schema["enum"].as_array() {
            assert!(
                words.contains(value),
                "{at}: {value} is not one of {words:?}"
            );
        }
        match schema["format"].as_str() {
            Some("date-time") => assert_timestamp(value),
            Some("int32") => assert!(value.as_i64().is_some_and(|it| i32::try_from(it).is_ok())),
            _ => {}
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name");
            assert!(
                value.get(name).is_some(),
                "{at}: {name} is missing: {value}"
            );
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => panic!("{at} is not documented"),
                (Value::Null, other) if other.is_object() => self.assert(&at, other, value),
                (Value::Null, _) => {}
                (property, _) => self.assert(&at, property, value),
            }
        }
        for item in value.as_array().into_iter().flatten() {
            self.assert(&format!("{at}[]"), &schema["items"], item);
        }
    }
}

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn violations_are_found() {
    let document = Document::parse(
        r##"{
            "paths": { "/a": { "get": { "responses": {
                "200": { "schema": { "type": "array", "items": { "$ref": "#/definitions/A" } } }
            } } } },
            "definitions": { "A": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": { "type": "string" },
                    "kind": { "type": "string", "enum": ["one", "two"] },
                    "at": { "type": "string", "format": "date-time" }
                }
            } }
        }"##,
    );
    let holds = |body: &str| {
        std::panic::catch_unwind(|| document.assert_answer("GET", "/a", 200, body)).is_ok()
    };
    assert!(holds(
        r#"[{ "id": "a", "kind": "two", "at": "2022-08-31T22:02:50Z", "more": 1 }]"#
    ));
    for body in [
        r#"{ "id": "a" }"#,
        r#"[{ "kind": "one" }]"#,
        r#"[{ "id": 7 }]"#,
        r#"[{ "id": "a", "kind": "three" }]"#,
        r#"[{ "id": "a", "at": "yesterday" }]"#,
        r#"[{ "id": "a" }, "b"]"#,
    ] {
        assert!(!holds(body), "{body}");
    }
}
