//! Tokens of service clients that the key of a shared access policy did not sign for this emulator, or that have expired.

use super::Credentials;
use crate::common::{Answer, Dps, KEY_1, KEY_2, KEY_3, key_enrollment, token, unix_now};

/// The requests of the service API that read or change something.
const REQUESTS: [(&str, &str); 9] = [
    ("GET", "/enrollments/dev-1"),
    ("PUT", "/enrollments/dev-1"),
    ("DELETE", "/enrollments/dev-1"),
    ("POST", "/enrollments/dev-1/attestationmechanism"),
    ("POST", "/enrollments/query"),
    ("POST", "/enrollments"),
    ("PUT", "/enrollmentGroups/g"),
    ("GET", "/registrations/dev-1"),
    ("DELETE", "/registrations/dev-1"),
];

fn forgeries(dps: &Dps) -> Vec<(&'static str, String)> {
    let sas = dps.service_sas();
    let key = &dps.service_key;
    let resource = |sr: &str| sas.clone().sr(sr).sign(key);
    let genuine = sas.sign(key);
    vec![
        ("another key", sas.sign(KEY_3)),
        ("the key of a device", sas.sign(KEY_1)),
        ("a device's token", token("dev-1", KEY_1)),
        (
            "a device's token with the key of the service",
            token("dev-1", key),
        ),
        (
            "an unknown policy",
            sas.clone().skn(Some("iothubowner")).sign(key),
        ),
        ("no policy", sas.clone().skn(None).sign(key)),
        (
            "the policy of devices",
            sas.clone().skn(Some("registration")).sign(key),
        ),
        (
            "another host",
            resource("other.azure-devices-provisioning.net"),
        ),
        (
            "a host that begins with this one",
            resource("localhost.example"),
        ),
        ("a host that ends with this one", resource("evil-localhost")),
        (
            "a user name before the host",
            resource("localhost%40evil.example"),
        ),
        (
            "another path",
            resource("localhost%2FenrollmentGroups%2Fother"),
        ),
        (
            "a part of a path segment",
            resource("localhost%2Fenrollment"),
        ),
        ("an empty resource", resource("")),
        ("a slash", resource("%2F")),
        ("expired", sas.clone().se(unix_now() - 1).sign(key)),
        ("expired in 1970", sas.clone().se(0).sign(key)),
        (
            "a changed expiry",
            genuine.replace("se=4102444800", "se=4102444801"),
        ),
        ("a changed policy", genuine.replace("skn=", "skn=x")),
        ("no signature", genuine.replace("&sig=", "&gis=")),
        ("two policies", format!("{genuine}&skn=other")),
        ("two resources", format!("{genuine}&sr=other")),
        ("the key as a bearer token", format!("Bearer {key}")),
        (
            "an unsigned bearer token",
            "Bearer eyJhbGciOiJub25lIn0.e30.".to_owned(),
        ),
        (
            "basic authentication",
            "Basic cHJvdmlzaW9uaW5nOmtleQ==".to_owned(),
        ),
        ("the key", key.clone()),
        ("no token", String::new()),
    ]
}

#[tokio::test]
async fn no_forged_token_reads_or_changes_anything() {
    let dps = Dps::start().await;
    let document = key_enrollment("dev-1", KEY_1, KEY_2);
    dps.create("/enrollments/dev-1", &document).await;
    let before = dps.get("/enrollments/dev-1").await.text;
    for (name, token) in forgeries(&dps) {
        for (method, path) in REQUESTS {
            let request = dps.request(method, &format!("{path}?api-version=2021-10-01"));
            let request = match token.is_empty() {
                true => request,
                false => request.header("Authorization", &token),
            };
            let answer = Answer::to(request.json(&document)).await;
            assert_eq!(answer.status, 401, "{name}: {method} {path}: {answer:?}");
            assert!(!answer.text.contains(KEY_1), "{name}: {method} {path}");
        }
    }
    assert_eq!(dps.get("/enrollments/dev-1").await.text, before);
    assert_eq!(dps.get("/enrollmentGroups/g").await.status, 404);
    let genuine = token("dev-1", KEY_1);
    assert!(Credentials::Token(&genuine).register(&dps, "HTTPS").await);
}
