//! Shared access policies: each allows the actions of its permissions.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dps_emulator::{AccessPolicy, Emulator, ErrorKind, Permission};
use dps_types::SymmetricKey;
use serde_json::json;
use tempfile::TempDir;

use crate::common::{Answer, Dps, KEY_1, KEY_2, KEY_3, TestClock, Wire, key_enrollment, key_group};

/// Operations, and the permission that Azure names for each.
const OPERATIONS: [(&str, &str, &str); 18] = [
    ("GET", "/enrollments/dev-1", "EnrollmentRead"),
    ("POST", "/enrollments/query", "EnrollmentRead"),
    ("GET", "/enrollmentGroups/g", "EnrollmentRead"),
    ("POST", "/enrollmentGroups/query", "EnrollmentRead"),
    (
        "POST",
        "/enrollments/dev-1/attestationmechanism",
        "EnrollmentWrite",
    ),
    (
        "POST",
        "/enrollmentGroups/g/attestationmechanism",
        "EnrollmentWrite",
    ),
    ("PUT", "/enrollments/dev-1", "EnrollmentWrite"),
    ("PUT", "/enrollmentGroups/g", "EnrollmentWrite"),
    ("POST", "/enrollments", "EnrollmentWrite"),
    ("POST", "/enrollmentGroups", "EnrollmentWrite"),
    ("DELETE", "/enrollments/gone", "EnrollmentWrite"),
    ("DELETE", "/enrollmentGroups/gone", "EnrollmentWrite"),
    ("GET", "/registrations/dev-1", "RegistrationStatusRead"),
    ("POST", "/registrations/g/query", "RegistrationStatusRead"),
    ("DELETE", "/registrations/gone", "RegistrationStatusWrite"),
    ("GET", CERTIFICATES, "ServiceConfig"),
    ("PUT", CERTIFICATE, "ServiceConfig"),
    ("DELETE", CERTIFICATE, "ServiceConfig"),
];
const CERTIFICATES: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/d/certificates";
const CERTIFICATE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/d/certificates/c";

/// The permissions that a permission includes. Source: Terraform's documentation of `azurerm_iothub_dps_shared_access_policy`.
const GRANTS: [(&str, &[&str]); 6] = [
    ("ServiceConfig", &["ServiceConfig"]),
    (
        "EnrollmentRead",
        &["EnrollmentRead", "RegistrationStatusRead"],
    ),
    (
        "EnrollmentWrite",
        &[
            "EnrollmentRead",
            "EnrollmentWrite",
            "RegistrationStatusRead",
            "RegistrationStatusWrite",
        ],
    ),
    ("RegistrationStatusRead", &["RegistrationStatusRead"]),
    (
        "RegistrationStatusWrite",
        &["RegistrationStatusRead", "RegistrationStatusWrite"],
    ),
    ("DeviceConnect", &[]),
];

/// The same client, with the key of another policy.
fn by(dps: &Dps, policy: &str) -> Wire {
    let connection = dps.emulator.connection_string(policy);
    dps.by(&connection.expect("a policy"))
}

async fn status(wire: &Wire, method: &str, path: &str) -> Answer {
    let request = match path.starts_with("/subscriptions") {
        true => wire
            .request(method, &format!("{path}?api-version=2022-12-12"))
            .header("Authorization", wire.service_sas().sign(&wire.service_key)),
        false => wire.service(method, path),
    };
    // Some of these documents are invalid, which is reported only to an authorized caller.
    Answer::to(request.json(&json!({ "query": "SELECT *" }))).await
}

#[tokio::test]
async fn each_permission_allows_its_actions() {
    let dps = Dps::start_with(|builder| {
        GRANTS.iter().fold(builder, |builder, (name, _)| {
            let permission: Permission = name.parse().expect("a permission");
            builder.access_policy(AccessPolicy::new(format!("only-{name}"), [permission]))
        })
    })
    .await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    for (name, granted) in GRANTS {
        let wire = by(&dps, &format!("only-{name}"));
        for (method, path, needed) in OPERATIONS {
            let answer = status(&wire, method, path).await;
            let context = format!("{name}: {method} {path}: {answer:?}");
            match granted.contains(&needed) {
                true => assert_ne!(answer.status, 401, "{context}"),
                false => assert_eq!(answer.status, 401, "{context}"),
            }
        }
    }
    let owner = by(&dps, "provisioningserviceowner");
    for (method, path, _) in OPERATIONS {
        let answer = status(&owner, method, path).await;
        assert_ne!(answer.status, 401, "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_caller_with_read_permissions_changes_nothing() {
    let reader = AccessPolicy::new("reader", [Permission::EnrollmentRead]);
    let dps = Dps::start_with(|builder| builder.access_policy(reader)).await;
    let document = key_enrollment("dev-1", KEY_1, KEY_2);
    let created = dps.create("/enrollments/dev-1", &document).await;
    let reader = by(&dps, "reader");
    let refused = [
        reader.put_if("/enrollments/dev-1", "*", &document).await,
        reader.delete("/enrollments/dev-1").await,
        Answer::to(reader.service("POST", "/enrollments/dev-1/attestationmechanism")).await,
    ];
    for answer in refused {
        answer.assert_error(401_002, "Unauthorized");
        assert_eq!(answer.header("x-ms-error-code"), Some("401002"));
    }
    let shown = reader.get("/enrollments/dev-1").await;
    assert_eq!(shown.json()["etag"], created["etag"]);
    assert!(!shown.text.contains(KEY_1), "{shown:?}");
}

#[tokio::test]
async fn both_keys_of_a_policy_are_accepted_and_no_other() {
    let key = |text| SymmetricKey::from_base64(text).expect("a key");
    let policy = AccessPolicy::new("line", [Permission::EnrollmentRead])
        .primary_key(key(KEY_1))
        .secondary_key(key(KEY_2));
    let dps = Dps::start_with(|builder| builder.access_policy(policy)).await;
    let connection = dps.emulator.connection_string("LINE").expect("a policy");
    assert_eq!(
        *connection,
        format!(
            "HostName=localhost:{};SharedAccessKeyName=line;SharedAccessKey={KEY_1}",
            dps.port
        )
    );
    let owners = dps.service_key.clone();
    for (skn, key, expected) in [
        ("line", KEY_1, 404),
        ("line", KEY_2, 404),
        ("Line", KEY_1, 404),
        ("line", KEY_3, 401),
        ("line", &owners, 401),
        ("provisioningserviceowner", KEY_1, 401),
        ("other", KEY_1, 401),
    ] {
        let token = dps.service_sas().skn(Some(skn)).sign(key);
        let request = dps.request("GET", "/enrollments/e?api-version=2021-10-01");
        let answer = Answer::to(request.header("Authorization", token)).await;
        assert_eq!(answer.status, expected, "{skn} {key}");
    }
    assert_eq!(dps.emulator.connection_string("other"), None);
    let names: Vec<&str> = dps.emulator.policies().collect();
    assert_eq!(names, ["provisioningserviceowner", "line"]);
}

#[tokio::test]
async fn a_policy_token_expires() {
    let clock = TestClock::now();
    let policy = AccessPolicy::new("line", [Permission::EnrollmentRead]);
    let dps =
        Dps::start_with(|builder| builder.clock(Arc::new(clock.clone())).access_policy(policy))
            .await;
    let line = by(&dps, "line");
    let token = line
        .service_sas()
        .se(clock.unix() + 60)
        .sign(&line.service_key);
    let ask = || {
        let request = line.request("GET", "/enrollments/e?api-version=2021-10-01");
        Answer::to(request.header("Authorization", &token))
    };
    assert_eq!(ask().await.status, 404);
    clock.advance(Duration::from_secs(61));
    ask().await.assert_error(401_002, "Unauthorized");
}

#[tokio::test]
async fn random_keys_are_kept_and_all_differ() {
    let dir = TempDir::new().expect("a directory");
    let start = async |dir: &Path| {
        Dps::start_with(|builder| {
            builder
                .data_dir(dir)
                .access_policy(AccessPolicy::new("a", [Permission::EnrollmentRead]))
                .access_policy(AccessPolicy::new("b", [Permission::EnrollmentRead]))
        })
        .await
    };
    let keys = |dps: &Dps| {
        let names: Vec<String> = dps.emulator.policies().map(str::to_owned).collect();
        let keys = names.iter().map(|name| by(dps, name).service_key);
        keys.collect::<Vec<String>>()
    };
    let dps = start(dir.path()).await;
    let before = keys(&dps);
    dps.emulator.shutdown().await;
    let dps = start(dir.path()).await;
    assert_eq!(keys(&dps), before);
    assert_eq!(before.len(), 3);
    assert!(before[0] != before[1] && before[1] != before[2] && before[0] != before[2]);
}

#[tokio::test]
async fn invalid_policies_are_refused() {
    for text in [
        "",
        "reader",
        "reader=",
        "reader=EnrollmentRead,",
        "reader=Everything",
        "reader=EnrollmentRead:",
        "reader=EnrollmentRead:c2hvcnQ=",
    ] {
        let error = text.parse::<AccessPolicy>().expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Configuration, "{text}");
        assert!(!error.to_string().contains("c2hvcnQ="), "{error}");
    }
    let reader = || AccessPolicy::new("Reader", [Permission::EnrollmentRead]);
    for policies in [
        vec![reader(), "reader=enrollmentread".parse().expect("a policy")],
        vec![AccessPolicy::new("ProvisioningServiceOwner", [])],
        vec![AccessPolicy::new("a;b", [])],
        vec![AccessPolicy::new("", [])],
    ] {
        let builder = policies
            .into_iter()
            .fold(Emulator::builder(), |builder, policy| {
                builder.access_policy(policy)
            });
        let error = builder.start().await.expect_err("it cannot be");
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    }
}
