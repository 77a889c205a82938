//! Authorization of the service API with the key of a shared access policy.

use std::sync::Arc;
use std::time::Duration;

use dps_types::SymmetricKey;

use crate::common::{
    Answer, Dps, KEY_1, KEY_2, KEY_3, Sas, TestClock, key_enrollment, percent, unix_now,
};

async fn ask(dps: &Dps, token: &str) -> Answer {
    let request = dps.request("GET", "/enrollments/e?api-version=2021-10-01");
    Answer::to(request.header("Authorization", token)).await
}

async fn with_enrollment() -> Dps {
    let dps =
        Dps::start_with(|builder| builder.host_name("dps.example".parse().expect("a name"))).await;
    dps.create("/enrollments/e", &key_enrollment("e", KEY_1, KEY_2))
        .await;
    dps
}

#[tokio::test]
async fn a_request_without_a_token_is_refused() {
    let dps = with_enrollment().await;
    for (method, path) in [
        ("GET", "/enrollments/e"),
        ("PUT", "/enrollments/e"),
        ("DELETE", "/enrollments/e"),
        ("POST", "/enrollments/e/attestationmechanism"),
        ("GET", "/enrollmentGroups/g"),
        ("POST", "/enrollments/query"),
        ("GET", "/registrations/e"),
    ] {
        let request = dps.request(method, &format!("{path}?api-version=2021-10-01"));
        let answer = Answer::to(request.json(&key_enrollment("e", KEY_1, KEY_2))).await;
        answer.assert_error(401_002, "Unauthorized");
    }
    assert_eq!(
        dps.get("/enrollments/e").await.status,
        200,
        "nothing happened"
    );
}

#[tokio::test]
async fn another_key_is_refused() {
    let dps = with_enrollment().await;
    let sas = dps.service_sas();
    for key in [KEY_1, KEY_3] {
        ask(&dps, &sas.sign(key))
            .await
            .assert_error(401_002, "Unauthorized");
    }
    assert_eq!(ask(&dps, &sas.sign(&dps.service_key)).await.status, 200);
}

#[tokio::test]
async fn every_name_of_the_host_is_accepted() {
    let dps = with_enrollment().await;
    let port = dps.port;
    for sr in [
        format!("localhost%3A{port}"),
        format!("localhost%3a{port}"),
        format!("localhost:{port}"),
        "localhost".to_owned(),
        "LocalHost".to_owned(),
        "127.0.0.1".to_owned(),
        "%5B%3A%3A1%5D%3A443".to_owned(),
        "dps.example".to_owned(),
        "localhost%2Fenrollments%2Fe".to_owned(),
    ] {
        let token = dps.service_sas().sr(&sr).sign(&dps.service_key);
        assert_eq!(ask(&dps, &token).await.status, 200, "{sr}");
    }
}

#[tokio::test]
async fn another_host_is_refused() {
    let dps = with_enrollment().await;
    for sr in [
        "contoso.azure-devices-provisioning.net",
        "localhost.example",
        "example.localhost",
        "0ne00000001%2Fregistrations%2Fe",
        "%2F",
        "%3A443",
    ] {
        let token = dps.service_sas().sr(sr).sign(&dps.service_key);
        let answer = ask(&dps, &token).await;
        assert_eq!(answer.status, 401, "{sr}: {answer:?}");
    }
}

#[tokio::test]
async fn another_policy_is_refused() {
    let dps = with_enrollment().await;
    for (policy, status) in [
        (Some("provisioningserviceowner"), 200),
        (Some("ProvisioningServiceOwner"), 200),
        (Some("registration"), 401),
        (Some("reader"), 401),
        (None, 401),
    ] {
        let token = dps.service_sas().skn(policy).sign(&dps.service_key);
        assert_eq!(ask(&dps, &token).await.status, status, "{policy:?}");
    }
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(Arc::new(clock.clone()))).await;
    let token = dps
        .service_sas()
        .se(clock.unix() + 60)
        .sign(&dps.service_key);
    assert_eq!(ask(&dps, &token).await.status, 404);
    clock.advance(Duration::from_secs(61));
    ask(&dps, &token)
        .await
        .assert_error(401_002, "Unauthorized");
    let token = dps
        .service_sas()
        .se(unix_now() - 3600)
        .sign(&dps.service_key);
    assert_eq!(ask(&dps, &token).await.status, 401);
}

#[tokio::test]
async fn a_devices_token_is_refused_by_the_service_api() {
    let dps = with_enrollment().await;
    let token = Sas::device("0ne00000001", "e").sign(KEY_1);
    assert_eq!(ask(&dps, &token).await.status, 401);
}

#[tokio::test]
async fn a_service_clients_token_is_refused_by_the_device_api() {
    let dps = with_enrollment().await;
    let token = dps.service_sas().sign(&dps.service_key);
    assert_eq!(dps.device("e").token(token).register().await.status, 401);
}

#[tokio::test]
async fn invalid_tokens_are_refused() {
    let dps = with_enrollment().await;
    for token in [
        "",
        "Basic YTpi",
        "Bearer",
        "Bearer eyJ0eXAiOiJKV1QifQ.e30.",
        "SharedAccessSignature",
        "SharedAccessSignature sr=localhost",
    ] {
        assert_eq!(ask(&dps, token).await.status, 401, "{token}");
    }
}

#[tokio::test]
async fn the_key_can_be_configured() {
    let key = SymmetricKey::from_base64(KEY_3).expect("a key");
    let dps = Dps::start_with(|builder| builder.service_key(key)).await;
    assert_eq!(
        *dps.emulator.service_connection_string(),
        format!(
            "HostName=localhost:{};SharedAccessKeyName=provisioningserviceowner;SharedAccessKey={KEY_3}",
            dps.port
        )
    );
    let sr = percent(&format!("localhost:{}", dps.port));
    let token = dps.service_sas().sr(sr).sign(KEY_3);
    assert_eq!(ask(&dps, &token).await.status, 404);
}

#[tokio::test]
async fn a_token_for_one_path_is_refused_for_another() {
    let dps = with_enrollment().await;
    for sr in [
        "localhost%2FenrollmentGroups",
        "localhost%2Fenrollments%2Fother",
        "localhost%2Fenroll",
    ] {
        let token = dps.service_sas().sr(sr).sign(&dps.service_key);
        let answer = ask(&dps, &token).await;
        assert_eq!(answer.status, 401, "{sr}: {answer:?}");
    }
}
