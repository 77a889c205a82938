//! The error document of the service: known codes, the displayed text, and malformed documents.

use dps_types::{ErrorCode, ErrorDetails};
use serde_json::json;

fn read(text: &str) -> ErrorDetails {
    serde_json::from_str(text).expect("readable")
}

#[test]
fn the_documented_body_is_read_completely() {
    let text = r#"{"errorCode":401002,"trackingId":"8ad0463c-6427-4479-9dfa-3e8bb7003e9b","message":"Invalid certificate.","info":{"k":"v"},"timestampUtc":"2020-04-10T05:24:22.4718526Z"}"#;
    let problem = read(text);
    assert_eq!(problem.error_code, Some(ErrorCode::UNAUTHORIZED));
    assert_eq!(problem.error_code.unwrap().http_status(), 401);
    assert_eq!(problem.info.as_ref().unwrap()["k"], "v");
    assert_eq!(serde_json::to_string(&problem).unwrap(), text);
    assert_eq!(
        problem.to_string(),
        "Invalid certificate. (error code 401002, tracking id 8ad0463c-6427-4479-9dfa-3e8bb7003e9b); \
         check the key or the certificate chain (leaf and intermediates), the registration id, \
         the id scope and the clock of the device"
    );
}

#[test]
fn missing_members_are_not_shown() {
    for (text, shown) in [
        ("{}", "the service gave no message"),
        (r#"{"message":"Boom."}"#, "Boom."),
        (
            r#"{"message":"Boom.","errorCode":499999}"#,
            "Boom. (error code 499999)",
        ),
        (
            r#"{"message":"Boom.","trackingId":"8ad0"}"#,
            "Boom. (tracking id 8ad0)",
        ),
        (
            r#"{"errorCode":409203}"#,
            "the service gave no message (error code 409203); the device registered twice at once: register again",
        ),
    ] {
        assert_eq!(read(text).to_string(), shown, "{text}");
    }
}

/// The fields that IoT Edge reads (`code`, `errorMessage`), and the answer of an IoT hub in place of DPS (csharp#3479).
#[test]
fn other_spellings_are_understood() {
    let problem = read(r#"{"code":429001,"errorMessage":"Slow down."}"#);
    assert_eq!(
        problem,
        ErrorDetails::new(ErrorCode::THROTTLED, "Slow down.")
    );
    let problem = read(
        r#"{"Message":"ErrorCode:ArgumentInvalid;Unknown api version","ExceptionMessage":"Tracking ID:1"}"#,
    );
    assert_eq!(
        problem.message.as_deref(),
        Some("ErrorCode:ArgumentInvalid;Unknown api version")
    );
    assert_eq!(problem.extra["ExceptionMessage"], "Tracking ID:1");
}

#[test]
fn malformed_members_are_kept_and_hide_no_others() {
    let rubbish = json!({
        "errorCode": "four hundred", "trackingId": 7, "message": "Still here.", "info": [1],
        "timestampUtc": "yesterday", "new": {"a": null}
    });
    let problem: ErrorDetails = serde_json::from_value(rubbish.clone()).unwrap();
    assert_eq!(problem.message.as_deref(), Some("Still here."));
    assert_eq!((problem.error_code, &problem.tracking_id), (None, &None));
    assert_eq!((&problem.info, problem.timestamp_utc), (&None, None));
    assert_eq!(serde_json::to_value(&problem).unwrap(), rubbish);

    for code in [
        json!(-1),
        json!(4_294_967_296_u64),
        json!(1.5),
        json!(null),
        json!({}),
    ] {
        let problem: ErrorDetails = serde_json::from_value(json!({"errorCode": code})).unwrap();
        assert_eq!(problem.error_code, None);
    }
}

#[test]
fn every_known_code_has_a_hint_and_an_http_status() {
    assert!(ErrorCode::KNOWN.len() >= 25);
    for code in ErrorCode::KNOWN {
        let hint = code.hint().expect("a hint");
        assert!(!hint.is_empty() && !hint.ends_with('.'), "{code}: {hint}");
        assert!((400..=599).contains(&code.http_status()), "{code}");
        let problem = ErrorDetails::new(*code, "Boom.");
        assert_eq!(
            problem.to_string(),
            format!("Boom. (error code {code}); {hint}")
        );
    }
    let mut sorted = ErrorCode::KNOWN.to_vec();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted, ErrorCode::KNOWN, "in order, each once");
    assert_eq!(ErrorCode::new(499_999).hint(), None);
}

#[test]
fn the_codes_are_those_of_the_service() {
    for (code, number) in [
        (ErrorCode::ARGUMENT_INVALID, 400_004),
        (ErrorCode::CUSTOM_ALLOCATION_FAILED, 400_207),
        (ErrorCode::HUB_NOT_SPECIFIED, 400_208),
        (ErrorCode::HUB_UNAUTHORIZED, 400_209),
        (ErrorCode::IOT_HUB_NOT_FOUND, 401_001),
        (ErrorCode::UNAUTHORIZED, 401_002),
        (ErrorCode::ENROLLMENT_NOT_FOUND, 404_201),
        (ErrorCode::ENROLLMENT_GROUP_NOT_FOUND, 404_202),
        (ErrorCode::REGISTRATION_NOT_FOUND, 404_203),
        (ErrorCode::ENROLLMENT_EXISTS, 409_201),
        (ErrorCode::ENROLLMENT_GROUP_EXISTS, 409_202),
        (ErrorCode::REGISTRATION_CONFLICT, 409_203),
        (ErrorCode::PRECONDITION_FAILED, 412_001),
        (ErrorCode::THROTTLED, 429_001),
    ] {
        assert_eq!(code.get(), number);
        assert!(ErrorCode::KNOWN.contains(&code));
    }
}

#[test]
fn a_code_outside_http_has_no_status() {
    assert_eq!(ErrorCode::new(u32::MAX).http_status(), 0);
    assert_eq!(ErrorCode::new(7).http_status(), 0);
}
