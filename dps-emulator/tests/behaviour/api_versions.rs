//! The api-version of a request: which ones are accepted, and which members documents have.

use dps_emulator::EntraRole;
use serde_json::{Value, json};

use crate::common::{Answer, Dps, KEY_1, KEY_2, issuing, key_enrollment, names};

/// Source: the documents of the data plane, and Microsoft's SDKs.
const PUBLISHED: [&str; 13] = [
    "2017-08-21-preview",
    "2017-08-31-preview",
    "2017-11-15",
    "2018-04-01",
    "2018-09-01-preview",
    "2018-11-01",
    "2019-03-31",
    "2019-04-15",
    "2021-06-01",
    "2021-10-01",
    "2025-07-01-preview",
    "2026-11-01",
    "2026-11-02-preview",
];

#[tokio::test]
async fn every_published_api_version_is_accepted() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    for version in PUBLISHED {
        let device = dps.device("dev-1").key(KEY_1).version(version);
        assert_eq!(device.provision().await["status"], "assigned", "{version}");
        let request = dps.service_at(version, "GET", "/enrollments/dev-1");
        assert_eq!(Answer::to(request).await.status, 200, "{version}");
    }
}

#[tokio::test]
async fn an_unknown_api_version_is_accepted_if_asked_for() {
    let dps = Dps::start_with(|builder| builder.any_api_version(true)).await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let device = dps.device("dev-1").key(KEY_1).version("2031-01-01");
    assert_eq!(device.provision().await["status"], "assigned");
    let request = dps.service_at("2031-01-01", "GET", "/enrollments/dev-1");
    assert_eq!(Answer::to(request).await.status, 200);
    let request = dps.service_at("latest", "GET", "/enrollments/dev-1");
    Answer::to(request)
        .await
        .assert_error(400_001, "The api-version 'latest' is not known.");
}

#[tokio::test]
async fn the_names_of_a_certificate_authority_are_of_2026_11_01_and_later() {
    let dps = Dps::start().await;
    let document = issuing("dev-1");
    let new = [
        "namespaceName",
        "certificateAuthorityName",
        "certificatePolicyName",
    ];
    let shown = |document: &Value| new.map(|name| document[name].as_str().map(str::to_owned));
    let all = ["contoso", "factory-1", "thermostats"].map(|name| Some(name.to_owned()));

    let put = dps.service_at("2026-11-01", "PUT", "/enrollments/dev-1");
    let answer = Answer::to(put.json(&document)).await;
    assert_eq!(shown(&answer.json()), all);
    for (version, expected) in [
        ("2021-10-01", [const { None }; 3]),
        ("2025-07-01-preview", [const { None }; 3]),
        ("2026-11-01", all.clone()),
        ("2026-11-02-preview", all.clone()),
    ] {
        let get = Answer::to(dps.service_at(version, "GET", "/enrollments/dev-1")).await;
        assert_eq!(shown(&get.json()), expected, "{version}");
        let query = dps.service_at(version, "POST", "/enrollments/query");
        let query = Answer::to(query.json(&json!({ "query": "SELECT *" }))).await;
        assert_eq!(shown(&query.json()[0]), expected, "{version}");
    }

    // An older api-version ignores the names, as it ignores every member that it does not have.
    let put = dps.service_at("2021-10-01", "PUT", "/enrollments/dev-1");
    let answer = Answer::to(put.header("If-Match", "*").json(&document)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let get = Answer::to(dps.service_at("2026-11-01", "GET", "/enrollments/dev-1")).await;
    assert_eq!(shown(&get.json()), [const { None }; 3]);
}

#[tokio::test]
async fn the_credential_policy_is_of_2025_07_01_preview_only() {
    let dps = Dps::start().await;
    let mut document = key_enrollment("dev-1", KEY_1, KEY_2);
    document["credentialPolicyName"] = "policy-1".into();
    let put = dps.service_at("2025-07-01-preview", "PUT", "/enrollments/dev-1");
    let answer = Answer::to(put.json(&document)).await;
    assert_eq!(answer.json()["credentialPolicyName"], "policy-1");
    for (version, shown) in [
        ("2021-10-01", Value::Null),
        ("2025-07-01-preview", "policy-1".into()),
        ("2026-11-01", Value::Null),
    ] {
        let get = Answer::to(dps.service_at(version, "GET", "/enrollments/dev-1")).await;
        assert_eq!(get.json()["credentialPolicyName"], shown, "{version}");
    }
}

#[tokio::test]
async fn the_connection_profile_is_of_2026_11_02_preview() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let device = dps.device("dev-1").key(KEY_1);
    for (version, has) in [
        ("2021-06-01", false),
        ("2026-11-01", false),
        ("2026-11-02-preview", true),
    ] {
        let state = device.clone().version(version).assigned().await;
        assert_eq!(names(&state).contains(&"connectionProfile"), has, "{state}");
        let lookup = device.clone().version(version).lookup().await.json();
        let record = dps.service_at(version, "GET", "/registrations/dev-1");
        let record = Answer::to(record).await.json();
        for document in [state, lookup, record] {
            let shown = document.get("connectionProfile").cloned();
            assert_eq!(shown, has.then(|| "classic".into()), "{version}");
        }
    }
}

#[tokio::test]
async fn without_local_authentication_only_bearer_tokens_are_accepted() {
    let dps = Dps::start_with(|builder| {
        builder
            .disable_local_auth(true)
            .bearer_token("eyJ0.contributor.sig", EntraRole::DataContributor)
    })
    .await;
    let refused = dps
        .put("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    refused.assert_error(401_002, "Unauthorized");
    let put = dps
        .request("PUT", "/enrollments/dev-1?api-version=2026-11-01")
        .header("Authorization", "Bearer eyJ0.contributor.sig");
    let answer = Answer::to(put.json(&key_enrollment("dev-1", KEY_1, KEY_2))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // Devices are not concerned.
    dps.device("dev-1").key(KEY_1).assigned().await;
}

#[tokio::test]
async fn the_control_plane_accepts_its_own_versions_of_2026() {
    let dps = Dps::start().await;
    let path = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/d/certificates";
    for version in [
        "2026-03-01-preview",
        "2026-04-01",
        "2026-06-01-preview",
        "2026-08-01",
        "2026-11-01",
    ] {
        let answer = Answer::to(dps.service_at(version, "GET", path)).await;
        assert_eq!(answer.status, 200, "{version}");
    }
    let answer = Answer::to(dps.service_at("2026-11-02-preview", "GET", path)).await;
    assert_eq!(answer.status, 400, "a version of the data plane only");
}
