//! The differences between a recorded answer and a new one, apart from values that are different each time.

use serde_json::Value;

use crate::journal::{MASK, masked_text};

/// The most differences of one answer that are reported.
const MOST: usize = 20;
/// The longest value in a difference, in characters.
const MAX_TEXT: usize = 100;

/// The members whose value is different each time, or is only for people.
const VOLATILE: [&str; 9] = [
    "authenticationKey",
    "etag",
    "issuedCertificateChain",
    "message",
    "operationId",
    "primaryKey",
    "secondaryKey",
    "trackingId",
    "verificationCode",
];

/// The differences of two bodies, each with the path of its member. Ids, times, keys and messages differ only if their JSON
/// type does.
pub(crate) fn differences(recorded: Option<&Value>, answer: Option<&Value>) -> Vec<String> {
    let mut found = Vec::new();
    match (recorded, answer) {
        (Some(recorded), Some(answer)) => compare("body", recorded, answer, &mut found),
        (None, None) => {}
        (Some(_), None) => found.push("body: recorded, and missing now".to_owned()),
        (None, Some(_)) => found.push("body: not recorded, and present now".to_owned()),
    }
    found.truncate(MOST);
    found
}

fn compare(at: &str, recorded: &Value, answer: &Value, found: &mut Vec<String>) {
    match (recorded, answer) {
        (Value::Object(before), Value::Object(now)) => {
            for (name, recorded) in before {
                let at = format!("{at}.{name}");
                match now.get(name) {
                    None => found.push(format!("{at}: recorded, and missing now")),
                    Some(answer) if is_volatile(name) => same_type(&at, recorded, answer, found),
                    Some(answer) => compare(&at, recorded, answer, found),
                }
            }
            let added = now.keys().filter(|name| !before.contains_key(*name));
            found.extend(added.map(|name| format!("{at}.{name}: not recorded, and present now")));
        }
        (Value::Array(before), Value::Array(now)) => {
            if before.len() != now.len() {
                let (before, now) = (before.len(), now.len());
                found.push(format!("{at}: {before} items recorded, {now} now"));
            }
            for (index, (recorded, answer)) in before.iter().zip(now).enumerate() {
                compare(&format!("{at}[{index}]"), recorded, answer, found);
            }
        }
        _ if *recorded == MASK => same_type(at, recorded, answer, found),
        _ if recorded != answer => {
            let (recorded, answer) = (shown(recorded), shown(answer));
            found.push(format!("{at}: {recorded} recorded, {answer} now"));
        }
        _ => {}
    }
}

fn same_type(at: &str, recorded: &Value, answer: &Value, found: &mut Vec<String>) {
    let (recorded, answer) = (type_of(recorded), type_of(answer));
    if recorded != answer {
        found.push(format!("{at}: {recorded} recorded, {answer} now"));
    }
}

fn is_volatile(name: &str) -> bool {
    VOLATILE.contains(&name) || name.ends_with("Utc")
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn shown(value: &Value) -> String {
    let text = masked_text(&value.to_string());
    match text.chars().count() > MAX_TEXT {
        true => text.chars().take(MAX_TEXT).chain(['…']).collect(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(recorded: Value, answer: Value) -> Vec<String> {
        differences(Some(&recorded), Some(&answer))
    }

    #[test]
    fn values_that_are_different_each_time_are_the_same() {
        let recorded = json!({
            "operationId": "1", "etag": "a", "createdDateTimeUtc": "2026-01-01T00:00:00Z",
            "attestation": { "primaryKey": "****", "key": "****" }, "status": "assigned",
        });
        let answer = json!({
            "operationId": "2", "etag": "b", "createdDateTimeUtc": "2027-01-01T00:00:00Z",
            "attestation": { "primaryKey": "MDEy", "key": "c2Vj" }, "status": "assigned",
        });
        assert_eq!(found(recorded, answer), [""; 0]);
    }

    #[test]
    fn each_difference_has_the_path_of_its_member() {
        let recorded = json!({
            "status": "assigned", "gone": 1, "etag": "a", "items": [1, 2, 3], "state": { "hub": "a" },
        });
        let answer = json!({
            "status": "failed", "etag": null, "items": [1, 5], "state": { "hub": "b" }, "new": 1,
        });
        assert_eq!(
            found(recorded, answer),
            [
                "body.status: \"assigned\" recorded, \"failed\" now",
                "body.gone: recorded, and missing now",
                "body.etag: a string recorded, null now",
                "body.items: 3 items recorded, 2 now",
                "body.items[1]: 2 recorded, 5 now",
                "body.state.hub: \"a\" recorded, \"b\" now",
                "body.new: not recorded, and present now",
            ]
        );
        assert_eq!(
            differences(Some(&json!({})), None),
            ["body: recorded, and missing now"]
        );
        assert_eq!(
            differences(None, Some(&json!({}))),
            ["body: not recorded, and present now"]
        );
    }

    #[test]
    fn the_number_of_differences_is_limited() {
        let items = |value: u64| json!(vec![value; 1000]);
        assert_eq!(found(items(1), items(2)).len(), MOST);
        let long = json!("x".repeat(1000));
        assert!(found(long, json!(1))[0].len() < 200);
    }
}
