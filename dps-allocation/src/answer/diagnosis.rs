//! Explains why a webhook's answer is not an allocation response, in words for the author of the webhook.

use dps_types::{AllocationRequest, HubHostname, json};
use serde_json::{Map, Value};

/// The name of the one required member.
pub(super) const HUB: &str = "iotHubHostName";

/// Longer excerpts of an answer are cut.
const MAX_EXCERPT: usize = 80;

/// The body is not JSON.
pub(super) fn not_json(body: &[u8], error: &serde_json::Error) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return "the webhook's answer is empty".to_owned();
    }
    if text.starts_with('<') {
        return "the webhook's answer is HTML or XML, so another server may have answered: \
                a proxy, a login page, or an error page of the platform"
            .to_owned();
    }
    if body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff") || body.contains(&0) {
        return "the webhook's answer is not JSON in UTF-8: it looks like UTF-16".to_owned();
    }
    format!(
        "the webhook's answer is not JSON: {error}; it begins with {}",
        quoted(text)
    )
}

/// The answer is an object without a value for `iotHubHostName`.
pub(super) fn without_hub(members: &Map<String, Value>) -> String {
    let missing = "the webhook's answer has no iotHubHostName";
    match member(members, HUB) {
        Some(Value::Null) => return format!("{missing}: it is null"),
        Some(_) => return format!("{missing}: it is an empty string"),
        None => {}
    }
    if let Some(name) = wrapper(members) {
        return format!(
            "{missing}: it is inside {name:?}, as if the function had serialized a whole response object. \
             Answer with only the inner object"
        );
    }
    let mut names = members.keys().map(|name| quoted(name));
    match names.next() {
        None => format!("{missing}: it is {{}}"),
        Some(first) => {
            let names: Vec<String> = std::iter::once(first).chain(names.take(7)).collect();
            format!("{missing}; its members are {}", names.join(", "))
        }
    }
}

/// The member whose value is the allocation response: as an object, or as JSON text in a string. Serialized action
/// results have it in `value` (.NET) or `body` (Node.js).
fn wrapper(members: &Map<String, Value>) -> Option<&str> {
    let has_hub = |value: &Value| {
        value
            .as_object()
            .is_some_and(|inner| member(inner, HUB).is_some())
    };
    let found = members.iter().find(|(_, value)| match value {
        Value::String(text) => json::from_str(text).is_ok_and(|inner| has_hub(&inner)),
        value => has_hub(value),
    });
    found.map(|(name, _)| name.as_str())
}

/// The answer is JSON, but not an allocation response. `error` is the error of the parser.
pub(super) fn explain(answer: &Value, error: &serde_json::Error) -> String {
    let not_an_object = "the webhook's answer is not an allocation response";
    let members = match answer {
        Value::Object(members) => members,
        Value::String(text) => return explain_string(text),
        Value::Array(values) => {
            let hint = match values.first() {
                Some(Value::Object(inner)) if member(inner, HUB).is_some() => {
                    ". Answer with the object that is in the array"
                }
                _ => "",
            };
            return format!("{not_an_object}: it is an array, not an object{hint}");
        }
        other => return format!("{not_an_object}: it is {}, not an object", describe(other)),
    };
    match member(members, HUB) {
        Some(Value::String(hub)) => {
            if let Err(error) = hub.parse::<HubHostname>() {
                return explain_hub(hub, error.reason());
            }
        }
        Some(other) => {
            return format!(
                "iotHubHostName in the webhook's answer is {}, not a string",
                describe(other)
            );
        }
        None => {}
    }
    match member(members, "initialTwin").and_then(explain_twin) {
        Some(reason) => reason,
        None => format!("{not_an_object}: {error}"),
    }
}

fn explain_string(text: &str) -> String {
    match json::from_str::<Value>(text) {
        Ok(Value::Object(_)) => {
            "the webhook's answer is encoded twice: it is JSON text inside a JSON string. \
             Answer with the object, and let the framework serialize it"
                .to_owned()
        }
        _ => format!(
            "the webhook's answer is not an allocation response: it is the string {}, not an object with {HUB}",
            quoted(text)
        ),
    }
}

fn explain_hub(hub: &str, reason: &str) -> String {
    let shown = quoted(hub);
    let lower = hub.trim().to_ascii_lowercase();
    let hint = if lower.contains("sharedaccess") || lower.starts_with("hostname=") {
        return format!(
            "{HUB} in the webhook's answer is a connection string. Answer with only its host name"
        );
    } else if lower.contains("://") {
        "it is a URL. Answer with only the host name, such as contoso.azure-devices.net"
    } else if hub.contains(char::is_whitespace) {
        "it contains white space"
    } else if lower.contains('/') {
        "it contains a path. Answer with only the host name"
    } else if lower.contains(':') {
        "it contains a port. Answer with only the host name"
    } else {
        reason
    };
    format!("{HUB} in the webhook's answer is {shown}, which is not a valid host name: {hint}")
}

/// The fault of the twin, if it has one.
fn explain_twin(twin: &Value) -> Option<String> {
    let wrong = |path: &str, value: &Value| {
        let hint = match value {
            Value::String(text) if json::from_str::<Map<String, Value>>(text).is_ok() => {
                ". It is encoded twice: JSON text inside a JSON string"
            }
            _ => "",
        };
        Some(format!(
            "{path} in the webhook's answer is {}, not an object{hint}",
            describe(value)
        ))
    };
    let Value::Object(members) = twin else {
        return wrong("initialTwin", twin);
    };
    match member(members, "tags") {
        None | Some(Value::Null | Value::Object(_)) => {}
        Some(tags) => return wrong("initialTwin.tags", tags),
    }
    let properties = match member(members, "properties") {
        None | Some(Value::Null) => return None,
        Some(Value::Object(properties)) => properties,
        Some(properties) => return wrong("initialTwin.properties", properties),
    };
    match member(properties, "desired") {
        None | Some(Value::Null | Value::Object(_)) => None,
        Some(desired) => wrong("initialTwin.properties.desired", desired),
    }
}

/// The hub is not one of the linked hubs.
pub(super) fn not_linked(hub: &HubHostname, request: &AllocationRequest) -> String {
    let not_linked = format!("the webhook chose {hub}, which is not one of the linked hubs");
    let short = hub.to_lowercase();
    let with_domain = request.linked_hubs.iter().find(|linked| {
        let linked = linked.to_lowercase();
        linked.split('.').next() == Some(short.as_str())
    });
    match with_domain {
        Some(linked) => format!("{not_linked}. The domain is missing: {linked} is linked"),
        None if request.linked_hubs.len() > 8 => not_linked,
        None => {
            let linked: Vec<&str> = request
                .linked_hubs
                .iter()
                .map(HubHostname::as_str)
                .collect();
            format!("{not_linked} ({})", linked.join(", "))
        }
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string {}", quoted(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// The text in quotes, with control characters escaped, and cut. A connection string is not shown: it contains a key.
fn quoted(text: &str) -> String {
    if text.to_ascii_lowercase().contains("sharedaccess") {
        return "a connection string (not shown)".to_owned();
    }
    let end = text.char_indices().nth(MAX_EXCERPT);
    match end.and_then(|(end, _)| text.get(..end)) {
        Some(excerpt) => format!("{excerpt:?}..."),
        None => format!("{text:?}"),
    }
}

/// The member with this name. The service ignores the case of names, and so do our documents: the exact name first,
/// then the first name that differs only in case.
pub(super) fn member<'a>(
    members: &'a serde_json::Map<String, Value>,
    name: &str,
) -> Option<&'a Value> {
    let ignoring_case = || {
        let mut members = members.iter();
        members.find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    members
        .get(name)
        .or_else(|| ignoring_case().map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::RejectionKind;
    use crate::answer::read;

    const REQUEST: &str = r#"{
        "enrollmentGroup": { "enrollmentGroupId": "g", "attestation": { "type": "symmetricKey" } },
        "deviceRuntimeContext": { "registrationId": "dev-1" },
        "linkedHubs": ["hub-a.azure-devices.net", "hub-b.azure-devices.net"]
    }"#;

    fn reason(body: &[u8]) -> String {
        let rejection = read(body, &serde_json::from_str(REQUEST).unwrap()).unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::Protocol);
        rejection.message().to_owned()
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_explained_and_an_explanation_is_short(body: Vec<u8>) {
            prop_assert!(reason(&body).len() < 1000);
        }

        #[test]
        fn any_host_name_is_explained(hub in ".{1,300}") {
            prop_assume!(!hub.eq_ignore_ascii_case("hub-a.azure-devices.net"));
            let body = serde_json::json!({ "iotHubHostName": hub }).to_string();
            let reason = reason(body.as_bytes());
            prop_assert!(reason.len() < 2000, "{}", reason);
        }
    }
}
