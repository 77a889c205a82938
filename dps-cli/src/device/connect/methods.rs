//! The answers of `dps connect` to direct methods.

use std::str::FromStr;

use dps_device::MethodRequest;
use serde_json::{Value, json};

use super::body;
use crate::failure::{Failure, Result};

/// The answer to each call of one method.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MethodAnswer {
    name: String,
    status: i32,
    payload: Value,
}

/// The status for a method that has no answer.
const NOT_FOUND: i32 = 404;

impl FromStr for MethodAnswer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text} is not NAME=STATUS or NAME=STATUS:JSON");
        let (name, answer) = text.split_once('=').ok_or_else(invalid)?;
        let (status, payload) = match answer.split_once(':') {
            Some((status, json)) => {
                let payload = serde_json::from_str(json)
                    .map_err(|error| format!("{json} is not valid JSON: {error}"))?;
                (status, payload)
            }
            None => (answer, Value::Null),
        };
        let status = status.parse().map_err(|_| invalid())?;
        match name.is_empty() {
            true => Err(invalid()),
            false => Ok(Self {
                name: name.to_owned(),
                status,
                payload,
            }),
        }
    }
}

/// Answers a call, and returns its description. A method without an answer gets the status 404.
pub(super) fn answer(method: MethodRequest, answers: &[MethodAnswer]) -> Result<Value> {
    let answer = answers.iter().find(|answer| answer.name == method.name());
    let (status, payload) = answer.map_or((NOT_FOUND, Value::Null), |answer| {
        (answer.status, answer.payload.clone())
    });
    let call = json!({"method": {
        "name": method.name(), "payload": body(method.payload()), "status": status, "answer": payload,
    }});
    method
        .respond(status, payload)
        .map_err(|error| Failure::from(error).about("--method"))?;
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_name_a_status_and_json() {
        let answer: MethodAnswer = r#"eject=200:{"at": "12:30"}"#.parse().unwrap();
        assert_eq!((answer.name.as_str(), answer.status), ("eject", 200));
        assert_eq!(answer.payload, json!({"at": "12:30"}));
        let answer: MethodAnswer = "reboot=-1".parse().unwrap();
        assert_eq!((answer.status, answer.payload), (-1, Value::Null));
        for invalid in [
            "",
            "eject",
            "=200",
            "eject=",
            "eject=ok",
            "eject=200:",
            "eject=200:{",
            "eject=3000000000",
        ] {
            assert!(invalid.parse::<MethodAnswer>().is_err(), "{invalid}");
        }
    }
}
