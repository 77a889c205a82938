//! Symmetric key attestation: all valid forms of a token are accepted, all others are refused.

use std::time::Duration;

use serde_json::json;

use crate::common::{
    Dps, KEY_1, KEY_2, KEY_3, Sas, TestClock, certificate_group, derive, key_enrollment, key_group,
    unix_now, with,
};

const MINUTE: u64 = 60;

async fn with_device() -> Dps {
    let dps = Dps::start().await;
    dps.create("/enrollments/Dev-1", &key_enrollment("Dev-1", KEY_1, KEY_2))
        .await;
    dps
}

async fn with_group() -> Dps {
    let dps = Dps::start().await;
    dps.create("/enrollmentGroups/grp", &key_group("grp", KEY_1, KEY_2))
        .await;
    dps
}

#[tokio::test]
async fn both_keys_of_an_enrollment_are_accepted() {
    let dps = with_device().await;
    for key in [KEY_1, KEY_2] {
        dps.device("Dev-1").key(key).assigned().await;
    }
}

#[tokio::test]
async fn any_other_key_is_refused() {
    let dps = with_device().await;
    for key in [KEY_3, &derive(KEY_1, "Dev-1")] {
        let answer = dps.device("Dev-1").key(key).register().await;
        answer.assert_error(401_002, "Unauthorized");
    }
}

#[tokio::test]
async fn an_unknown_device_is_refused() {
    let dps = with_device().await;
    let answer = dps.device("dev-2").key(KEY_1).register().await;
    answer.assert_error(401_002, "Unauthorized");
}

#[tokio::test]
async fn polls_and_lookups_require_the_key() {
    let dps = with_device().await;
    let operation = dps.device("Dev-1").key(KEY_1).register().await.json()["operationId"].clone();
    let operation = operation.as_str().expect("text");
    for stranger in [dps.device("Dev-1"), dps.device("Dev-1").key(KEY_3)] {
        assert_eq!(stranger.poll(operation).await.status, 401);
        assert_eq!(stranger.lookup().await.status, 401);
    }
}

#[tokio::test]
async fn every_encoding_of_the_resource_is_accepted() {
    let dps = with_device().await;
    let sas = Sas::device("0ne00000001", "Dev-1");
    for (client, sr) in [
        ("C#, Python, Java", "0ne00000001%2Fregistrations%2FDev-1"),
        ("C", "0ne00000001%2fregistrations%2fDev-1"),
        ("Node", "0ne00000001/registrations/Dev-1"),
        ("iot-identity-service", "0ne00000001/registrations/dev-1"),
        ("the documentation", "0ne00000001%2fregistrations%2fdev-1"),
        ("shouting", "0NE00000001%2FREGISTRATIONS%2FDEV-1"),
        ("all encoded", "%30ne00000001%2Fregistrations%2FDev%2D1"),
    ] {
        let token = sas.clone().sr(sr).sign(KEY_1);
        let answer = dps.device("Dev-1").token(token).register().await;
        assert_eq!(answer.status, 202, "{client}: {answer:?}");
    }
}

#[tokio::test]
async fn the_order_of_the_fields_is_free() {
    let dps = with_device().await;
    let sas = Sas::device("0ne00000001", "Dev-1");
    for order in [
        ["sr", "sig", "se", "skn"],
        ["sr", "sig", "skn", "se"],
        ["skn", "se", "sig", "sr"],
        ["sig", "sr", "skn", "se"],
    ] {
        let token = sas.sign_in_order(KEY_1, &order);
        let answer = dps.device("Dev-1").token(token).register().await;
        assert_eq!(answer.status, 202, "{order:?}: {answer:?}");
    }
}

#[tokio::test]
async fn the_policy_name_is_registration_or_left_out() {
    let dps = with_device().await;
    let sas = Sas::device("0ne00000001", "Dev-1");
    for (skn, status) in [
        (Some("registration"), 202),
        (None, 202),
        (Some("provisioningserviceowner"), 401),
    ] {
        let token = sas.clone().skn(skn).sign(KEY_1);
        let answer = dps.device("Dev-1").token(token).register().await;
        assert_eq!(answer.status, status, "{skn:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_token_for_something_else_is_refused() {
    let dps = with_device().await;
    dps.create("/enrollments/dev-2", &key_enrollment("dev-2", KEY_1, KEY_2))
        .await;
    let sas = Sas::device("0ne00000001", "Dev-1");
    for sr in [
        "0ne00000001%2Fregistrations%2Fdev-2",
        "0ne00000001%2Fregistrations%2FDev-",
        "0ne00000001%2Fregistrations%2FDev-11",
        "0ne00000002%2Fregistrations%2FDev-1",
        "0ne00000001%2Fdevices%2FDev-1",
        "localhost",
        "%2F",
    ] {
        let token = sas.clone().sr(sr).sign(KEY_1);
        let answer = dps.device("Dev-1").token(token).register().await;
        assert_eq!(answer.status, 401, "{sr}: {answer:?}");
    }
}

#[tokio::test]
async fn an_expired_token_is_refused_with_five_minutes_for_slow_clocks() {
    let dps = with_device().await;
    let sas = Sas::device("0ne00000001", "Dev-1");
    let now = unix_now();
    for (se, status) in [
        (now + 30, 202),
        (now - 4 * MINUTE, 202),
        (now - 6 * MINUTE, 401),
        (0, 401),
    ] {
        let token = sas.clone().se(se).sign(KEY_1);
        let answer = dps.device("Dev-1").token(token).register().await;
        assert_eq!(answer.status, status, "{}", se.abs_diff(now));
    }
}

#[tokio::test]
async fn a_token_expires_while_the_device_polls() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(std::sync::Arc::new(clock.clone()))).await;
    dps.create("/enrollments/Dev-1", &key_enrollment("Dev-1", KEY_1, KEY_2))
        .await;
    let token = Sas::device("0ne00000001", "Dev-1").se(clock.unix() + 30);
    let device = dps.device("Dev-1").token(token.sign(KEY_1));
    let operation = device.register().await.json()["operationId"].clone();
    clock.advance(Duration::from_secs(6 * MINUTE));
    let answer = device.poll(operation.as_str().expect("text")).await;
    answer.assert_error(401_002, "Unauthorized");
}

#[tokio::test]
async fn malformed_tokens_are_refused() {
    let dps = with_device().await;
    for token in [
        "",
        "Bearer abc",
        "SharedAccessSignature",
        "SharedAccessSignature sr=&sig=&se=",
        "SharedAccessSignature sr=0ne00000001%2Fregistrations%2FDev-1&se=4102444800&skn=registration",
        "SharedAccessSignature sr=0ne00000001%2Fregistrations%2FDev-1&sig=AAAA&se=4102444800",
        "SharedAccessSignature sr=0ne00000001%2Fregistrations%2FDev-1&sig=AAAA&se=99999999999999999999",
        "SharedAccessSignature sr=0ne00000001%2Fregistrations%2FDev-1&sig=***&se=soon",
    ] {
        let answer = dps.device("Dev-1").token(token).register().await;
        assert_eq!(answer.status, 401, "{token}: {answer:?}");
    }
    let request = dps.device("Dev-1").request("PUT", "/register");
    let bytes =
        reqwest::header::HeaderValue::from_bytes(b"SharedAccessSignature \xff").expect("a header");
    let request = request.header("Authorization", bytes).json(&json!({}));
    assert_eq!(crate::common::Answer::to(request).await.status, 401);
}

#[tokio::test]
async fn a_changed_field_breaks_the_signature() {
    let dps = with_device().await;
    let now = unix_now();
    let token = Sas::device("0ne00000001", "Dev-1").se(now).sign(KEY_1);
    for (from, to) in [
        (format!("se={now}"), "se=4102444800"),
        ("%2F".to_owned(), "%2f"),
    ] {
        let changed = token.replacen(&from, to, 1);
        let answer = dps.device("Dev-1").token(changed).register().await;
        assert_eq!(answer.status, 401, "{to}: {answer:?}");
    }
}

#[tokio::test]
async fn a_rolled_key_works_and_the_old_one_does_not() {
    let dps = with_device().await;
    let rolled = key_enrollment("Dev-1", KEY_2, KEY_3);
    assert_eq!(
        dps.put_if("/enrollments/Dev-1", "*", &rolled).await.status,
        200
    );
    for (key, status) in [(KEY_1, 401), (KEY_2, 202), (KEY_3, 202)] {
        let answer = dps.device("Dev-1").key(key).register().await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[tokio::test]
async fn keys_derived_from_both_keys_of_a_group_are_accepted() {
    let dps = with_group().await;
    for (id, group_key) in [("Dev-1", KEY_1), ("Dev-2", KEY_2)] {
        let state = dps.device(id).key(&derive(group_key, id)).assigned().await;
        assert_eq!(state["symmetricKey"]["enrollmentGroupId"], "grp");
        assert_eq!(state["deviceId"], id);
    }
}

#[tokio::test]
async fn the_keys_of_a_group_do_not_sign_for_a_device() {
    let dps = with_group().await;
    for key in [KEY_1, KEY_2, KEY_3] {
        let answer = dps.device("Dev-1").key(key).register().await;
        answer.assert_error(401_002, "Unauthorized");
    }
}

#[tokio::test]
async fn a_key_derived_for_another_device_is_refused() {
    let dps = with_group().await;
    let answer = dps
        .device("Dev-1")
        .key(&derive(KEY_1, "Dev-2"))
        .register()
        .await;
    answer.assert_error(401_002, "Unauthorized");
}

#[tokio::test]
async fn a_key_derived_from_the_id_in_lower_case_is_accepted() {
    let dps = with_group().await;
    let device = dps.device("Dev-1").key(&derive(KEY_1, "dev-1"));
    assert_eq!(device.assigned().await["registrationId"], "Dev-1");
}

#[tokio::test]
async fn the_signature_finds_the_group() {
    let dps = with_group().await;
    dps.create("/enrollmentGroups/abc", &key_group("abc", KEY_3, KEY_3))
        .await;
    let state = dps.device("d1").key(&derive(KEY_3, "d1")).assigned().await;
    assert_eq!(state["symmetricKey"]["enrollmentGroupId"], "abc");
    let state = dps.device("d2").key(&derive(KEY_2, "d2")).assigned().await;
    assert_eq!(state["symmetricKey"]["enrollmentGroupId"], "grp");
}

#[tokio::test]
async fn a_disabled_group_answers_disabled() {
    let dps = Dps::start().await;
    let group = with(
        key_group("grp", KEY_1, KEY_2),
        json!({ "provisioningStatus": "disabled" }),
    );
    dps.create("/enrollmentGroups/grp", &group).await;
    let answer = dps.device("d1").key(&derive(KEY_1, "d1")).register().await;
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (200, &json!("disabled"))
    );
}

#[tokio::test]
async fn an_individual_enrollment_takes_precedence_even_if_disabled() {
    let dps = with_group().await;
    let individual = with(
        key_enrollment("d1", KEY_3, KEY_3),
        json!({ "provisioningStatus": "disabled" }),
    );
    dps.create("/enrollments/d1", &individual).await;
    let answer = dps.device("d1").key(&derive(KEY_1, "d1")).register().await;
    answer.assert_error(401_002, "Unauthorized");
    let answer = dps.device("d1").key(KEY_3).register().await;
    assert_eq!(answer.json()["status"], "disabled", "{answer:?}");
}

/// An operator reads a group with its keys, and changes its attestation to X.509.
#[tokio::test]
async fn keys_that_remain_in_a_group_with_certificates_are_not_used() {
    let dps = with_group().await;
    let root = dps_emulator::CertificateAuthority::new("Root").expect("a CA");
    let mut group = certificate_group("grp", root.certificate_pem());
    group["attestation"]["symmetricKey"] = json!({ "primaryKey": KEY_1, "secondaryKey": KEY_2 });
    let answer = dps.put_if("/enrollmentGroups/grp", "*", &group).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = dps.device("d1").key(&derive(KEY_1, "d1")).register().await;
    answer.assert_error(401_002, "Unauthorized");
}
