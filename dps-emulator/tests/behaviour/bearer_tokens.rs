//! Bearer tokens: each configured token has its role, and all others are refused.

use dps_emulator::EntraRole;
use serde_json::json;

use crate::common::{Answer, Dps, KEY_1, KEY_2, key_enrollment};

const CERTIFICATES: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/d/certificates";

async fn ask(dps: &Dps, token: &str, method: &str, path: &str) -> Answer {
    let version = match path == CERTIFICATES {
        true => "2022-12-12",
        false => "2021-10-01",
    };
    let request = dps.request(method, &format!("{path}?api-version={version}"));
    let request = request.header("Authorization", token);
    Answer::to(request.json(&json!({ "query": "SELECT *" }))).await
}

#[tokio::test]
async fn a_role_allows_the_same_actions_as_in_azure() {
    let dps = Dps::start_with(|builder| {
        builder
            .bearer_token("eyJ0.contributor.sig", EntraRole::DataContributor)
            .bearer_token("eyJ0.reader.sig", EntraRole::DataReader)
    })
    .await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    for (method, path, reader) in [
        ("GET", "/enrollments/dev-1", true),
        ("POST", "/enrollments/query", true),
        ("POST", "/enrollmentGroups/query", true),
        ("GET", "/registrations/dev-1", true),
        ("POST", "/registrations/g/query", true),
        ("POST", "/enrollments/dev-1/attestationmechanism", false),
        ("PUT", "/enrollments/dev-2", false),
        ("DELETE", "/enrollments/gone", false),
        ("POST", "/enrollments", false),
        ("DELETE", "/registrations/gone", false),
        ("GET", CERTIFICATES, false),
    ] {
        let answer = ask(&dps, "Bearer eyJ0.contributor.sig", method, path).await;
        assert_ne!(answer.status, 401, "{method} {path}: {answer:?}");
        let answer = ask(&dps, "bearer eyJ0.reader.sig", method, path).await;
        match reader {
            true => assert_ne!(answer.status, 401, "{method} {path}: {answer:?}"),
            false => assert_eq!(answer.status, 401, "{method} {path}: {answer:?}"),
        }
    }
    let contributor = dps
        .request("PUT", "/enrollments/dev-3?api-version=2021-10-01")
        .header("Authorization", "Bearer eyJ0.contributor.sig");
    let document = key_enrollment("dev-3", KEY_1, KEY_2);
    assert_eq!(Answer::to(contributor.json(&document)).await.status, 200);
}

#[tokio::test]
async fn every_other_token_is_refused() {
    let configured = "eyJ0.contributor.sig";
    let dps =
        Dps::start_with(|builder| builder.bearer_token(configured, EntraRole::DataContributor))
            .await;
    for token in [
        "Bearer eyJ0.contributor.other",
        "Bearer eyJ0.contributor.si",
        "Bearer eyJ0.contributor.sigg",
        "Bearer EYJ0.CONTRIBUTOR.SIG",
        "Bearer ",
        "Bearer",
        "eyJ0.contributor.sig",
        "Basic eyJ0.contributor.sig",
    ] {
        let answer = ask(&dps, token, "GET", "/enrollments/e").await;
        answer.assert_error(401_002, "Unauthorized");
    }
    // The device API does not accept bearer tokens.
    let answer = dps
        .device("dev-1")
        .token(format!("Bearer {configured}"))
        .register()
        .await;
    assert_eq!(answer.status, 401, "{answer:?}");
}

#[tokio::test]
async fn without_configured_tokens_every_bearer_token_is_refused() {
    let dps = Dps::start().await;
    for token in ["Bearer ", "Bearer x"] {
        let answer = ask(&dps, token, "GET", "/enrollments/e").await;
        answer.assert_error(401_002, "Unauthorized");
    }
}
