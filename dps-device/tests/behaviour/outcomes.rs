//! The outcomes of a registration.

use dps_device::ErrorKind;
use dps_types::{ErrorCode, RegistrationSubstatus};
use serde_json::json;

use crate::script::{ASSIGNED, Script, answer, assigned, assigning};

async fn ends(status: u16, body: &str) -> dps_device::Error {
    let script = Script::new([answer(status, body)]);
    let error = script.client().register().await.unwrap_err();
    assert_eq!(script.asked().len(), 1, "{error}");
    error
}

#[tokio::test(start_paused = true)]
async fn an_assignment_has_the_whole_registration_record() {
    let body = ASSIGNED.replace(
        r#""status":"assigned","substatus""#,
        r#""payload":{"tariff":"grün","limit":7},"status":"assigned","substatus""#,
    );
    let script = Script::new([answer(200, &body)]);
    let assignment = script.client().register().await.unwrap();

    #[derive(serde::Deserialize, PartialEq, Debug)]
    struct Tariff {
        tariff: String,
        limit: u8,
    }
    assert_eq!(
        assignment.payload::<Tariff>().unwrap(),
        Some(Tariff {
            tariff: "grün".to_owned(),
            limit: 7
        })
    );
    assert_eq!(
        assignment.payload_json(),
        Some(&json!({"tariff": "grün", "limit": 7}))
    );
    let error = assignment.payload::<Vec<u8>>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(
        assignment.substatus(),
        Some(&RegistrationSubstatus::InitialAssignment)
    );
    let registration = assignment.registration();
    assert_eq!(
        registration.created_date_time_utc.unwrap().to_string(),
        "2022-08-31T22:02:50.5163352Z"
    );
}

#[tokio::test(start_paused = true)]
async fn an_assignment_may_come_without_a_payload_and_with_a_new_substatus() {
    let body = ASSIGNED.replace("initialAssignment", "movedToTheMoon");
    let script = Script::new([answer(200, &body)]);
    let assignment = script.client().register().await.unwrap();
    assert_eq!(assignment.payload::<String>().unwrap(), None);
    assert_eq!(
        assignment.substatus().map(RegistrationSubstatus::as_str),
        Some("movedToTheMoon")
    );
}

#[tokio::test(start_paused = true)]
async fn payloads_of_any_script_arrive_whole() {
    let text = "Grüße, 東京, 🚀, \u{0}, \"\\";
    let body = ASSIGNED.replace(
        r#""status":"assigned","substatus""#,
        &format!(
            r#""payload":{},"status":"assigned","substatus""#,
            json!(text)
        ),
    );
    let script = Script::new([answer(200, &body)]);
    let register = script.client().register().payload(json!({ "say": text }));
    let assignment = register.await.unwrap();

    assert_eq!(assignment.payload::<String>().unwrap().unwrap(), text);
    let sent = &script.asked()[0];
    assert_eq!(
        sent,
        &format!(
            r#"PUT {{"registrationId":"my-device","payload":{{"say":{}}}}}"#,
            json!(text)
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_disabled_enrollment_is_typed() {
    for word in ["disabled", "Disabled", "blacklisted"] {
        let body = format!(
            r#"{{"operationId":"","status":"{word}","registrationState":{{"registrationId":"my-device","status":"{word}"}}}}"#
        );
        let error = ends(200, &body).await;
        assert_eq!(error.kind(), ErrorKind::Disabled);
        assert!(!error.is_retryable());
        assert_eq!(error.to_string(), "the enrollment is disabled");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_allocation_is_final() {
    let failed = r#"{"operationId":"5.3.1","status":"failed","registrationState":{"registrationId":"my-device","status":"failed","errorCode":400207,"errorMessage":"Custom allocation failed with status code: 400"}}"#;
    let script = Script::new([assigning(), answer(200, failed)]);
    let error = script.client().register().await.unwrap_err();

    assert_eq!(script.asked().len(), 2);
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(!error.is_retryable());
    let details = error.error_details().unwrap();
    assert_eq!(
        details.error_code,
        Some(ErrorCode::CUSTOM_ALLOCATION_FAILED)
    );
    assert!(
        error
            .to_string()
            .contains("Custom allocation failed with status code: 400"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_without_a_reason_is_a_failure() {
    let error = ends(200, r#"{"status":"failed"}"#).await;
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.error_details().is_none());
}

#[tokio::test(start_paused = true)]
async fn each_refusal_has_its_kind() {
    for (status, kind) in [
        (400, ErrorKind::Rejected),
        (401, ErrorKind::Unauthorized),
        (403, ErrorKind::Unauthorized),
        (404, ErrorKind::NotFound),
        (501, ErrorKind::Rejected),
        (405, ErrorKind::Rejected),
        (409, ErrorKind::Rejected),
        (412, ErrorKind::Rejected),
        (415, ErrorKind::Rejected),
        (301, ErrorKind::Protocol),
        (307, ErrorKind::Protocol),
        (100, ErrorKind::Protocol),
        (600, ErrorKind::Protocol),
    ] {
        let error = ends(status, "{}").await;
        assert_eq!(error.kind(), kind, "{status}");
        assert_eq!(error.status(), Some(status));
        assert!(!error.is_retryable());
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_document_of_the_service_is_kept() {
    let body = r#"{"errorCode":401002,"trackingId":"8ad0463c-6427-4479-9dfa-3e8bb7003e9b","message":"Invalid certificate.","info":{"k":"v"},"timestampUtc":"2020-04-10T05:24:22.4718526Z"}"#;
    let error = ends(401, body).await;
    let details = error.error_details().unwrap();
    assert_eq!(details.error_code, Some(ErrorCode::UNAUTHORIZED));
    assert_eq!(
        details.tracking_id.as_deref(),
        Some("8ad0463c-6427-4479-9dfa-3e8bb7003e9b")
    );
    assert_eq!(details.info.as_ref().unwrap()["k"], "v");
    let text = error.to_string();
    assert!(
        text.starts_with("the credentials were refused (status 401): Invalid certificate. (error code 401002, tracking id 8ad0463c-6427-4479-9dfa-3e8bb7003e9b)"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_status_decides_before_the_body() {
    for body in ["", "<html>no</html>", "[]", "null", "\u{fffd}", ASSIGNED] {
        let error = ends(401, body).await;
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert_eq!(error.status(), Some(401));
        assert!(error.error_details().is_none(), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_outside_the_protocol_is_a_protocol_error() {
    for (status, body) in [
        (202, r#"{"status":"assigning"}"#),
        (202, r#"{"operationId":"","status":"assigning"}"#),
        (202, r#"{"operationId":"a/b","status":"assigning"}"#),
        (202, ""),
        (202, r#"{"operationId":"5.3.1","sta"#),
        (204, ""),
        (200, "<html>Welcome to the hotel</html>"),
        (200, r#"{"status":"assigned"}"#),
        (
            200,
            r#"{"status":"assigned","registrationState":{"deviceId":"a"}}"#,
        ),
        (
            200,
            r#"{"status":"assigned","registrationState":{"assignedHub":"a"}}"#,
        ),
        (
            200,
            r#"{"status":"assigned","registrationState":{"assignedHub":"a:1/b","deviceId":"a"}}"#,
        ),
    ] {
        let error = ends(status, body).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{body}");
        assert_eq!(error.status(), Some(status));
    }
}

#[tokio::test(start_paused = true)]
async fn a_transport_without_lookup_is_unsupported() {
    let script = Script::new([]);
    let error = script.client().lookup().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn the_client_registers_again_after_any_outcome() {
    let script = Script::new([answer(401, "{}"), assigned(), assigned()]);
    let client = script.client();
    client.register().await.unwrap_err();
    client.register().await.unwrap();
    client.register().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_another_device_is_refused() {
    for status in ["assigned", "assigning", "failed", "disabled"] {
        let body = ASSIGNED
            .replace("my-device", "other-device")
            .replace("\"assigned\"", &format!("\"{status}\""));
        let error = ends(200, &body).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{status}");
        for id in ["other-device", "my-device"] {
            assert!(error.to_string().contains(id), "{error}");
        }
    }
    // Registration ids do not differ in case.
    let body = ASSIGNED.replace("my-device", "MY-device");
    let script = Script::new([answer(200, &body)]);
    script.client().register().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_does_not_matter() {
    let script = Script::new([answer(200, &format!("\u{feff}{ASSIGNED}"))]);
    script.client().register().await.unwrap();
    let error = ends(401, "\u{feff}{\"errorCode\":401002}").await;
    assert_eq!(
        error.error_details().unwrap().error_code,
        Some(ErrorCode::UNAUTHORIZED)
    );
}

/// Names without regard to case, the last one of several wins, as the service's own JSON readers do it.
#[tokio::test(start_paused = true)]
async fn the_last_of_several_members_counts() {
    let member = r#""status":"assigned","#;
    for several in [
        r#""status":"failed","status":"assigned","#,
        r#""status":"failed","Status":"assigned","#,
        r#""STATUS":"failed","status":"assigned","#,
    ] {
        let body = format!("\u{feff}{}", ASSIGNED.replacen(member, several, 1));
        let script = Script::new([answer(200, &body)]);
        script.client().register().await.expect(several);
    }
    let several = ASSIGNED.replacen(member, r#""status":"assigned","status":"failed","#, 1);
    assert_eq!(ends(200, &several).await.kind(), ErrorKind::Failed);
    let error = ends(401, r#"{"errorCode":401003,"errorCode":401002}"#).await;
    assert_eq!(
        error.error_details().unwrap().error_code,
        Some(ErrorCode::UNAUTHORIZED)
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_without_a_body_has_the_hint_of_its_status() {
    for (status, hint) in [
        (401, "check the key"),
        (403, "check the key"),
        (404, "check the id scope"),
    ] {
        let error = ends(status, "").await;
        assert!(error.to_string().contains(hint), "{error}");
        assert!(error.error_details().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn the_alternate_text_of_an_error_has_the_whole_chain() {
    let error = ends(200, "{").await;
    let plain = error.to_string();
    let chain = format!("{error:#}");
    assert!(chain.starts_with(&format!("{plain}: ")), "{chain}");
    assert!(chain.contains("EOF while parsing"), "{chain}");
}
