//! Authentication and authorization of service clients.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{Access, Emulator, HTTPS_PORT, Kind, Operator, ServiceSdk};
use dps_types::SymmetricKey;
use dps_types::sas::SasTokenBuilder;
use serde_json::json;

use super::enrollment;

const UNAUTHORIZED: (u32, &str) = (401_002, "Unauthorized");
const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const HOUR: Duration = Duration::from_secs(3600);

pub(crate) async fn a_reader_cannot_write(sdk: ServiceSdk) {
    let emulator = Emulator::start_with(HTTPS_PORT, &["--policy", "reader=EnrollmentRead"]).await;
    create_pump(sdk, &emulator).await;
    let connection = Access::ConnectionString(emulator.connection_string("reader"));
    reads_only(sdk.operator(&emulator, connection)).await;
    emulator.stop().await;
}

pub(crate) async fn an_entra_token(sdk: ServiceSdk) {
    let tokens = [
        "--bearer-token",
        "reader=only-looks",
        "--bearer-token",
        "contributor=does-all",
    ];
    let emulator = Emulator::start_with(HTTPS_PORT, &tokens).await;
    let pump = enrollment("pump", &json!({}));
    let mut contributor = sdk.operator(&emulator, Access::Bearer("does-all"));
    contributor
        .put(Kind::Enrollments, &pump, None)
        .await
        .unwrap();
    reads_only(sdk.operator(&emulator, Access::Bearer("only-looks"))).await;
    is_refused(sdk.operator(&emulator, Access::Bearer("made-up"))).await;
    emulator.stop().await;
}

pub(crate) async fn a_policy_for_registrations_only(sdk: ServiceSdk) {
    let policy = "support=RegistrationStatusRead,RegistrationStatusWrite";
    let emulator = Emulator::start_with(HTTPS_PORT, &["--policy", policy]).await;
    create_pump(sdk, &emulator).await;
    let connection = Access::ConnectionString(emulator.connection_string("support"));
    let mut support = sdk.operator(&emulator, connection);
    let none = support.get(Kind::Registrations, "pump").await;
    support.assert_refused(none, 404_203, "Registration not found.");
    let kept = support.get(Kind::Enrollments, "pump").await;
    support.assert_refused(kept, UNAUTHORIZED.0, UNAUTHORIZED.1);
    let kept = support
        .query(Kind::Enrollments, json!({ "query": "SELECT *" }))
        .await;
    support.assert_refused(kept, UNAUTHORIZED.0, UNAUTHORIZED.1);
    emulator.stop().await;
}

/// A key of another policy is refused.
pub(crate) async fn a_bad_signature(sdk: ServiceSdk) {
    let (emulator, _) = with_known_key(sdk).await;
    let line = emulator.connection_string("line");
    let connection = line.replace("=line;", "=provisioningserviceowner;");
    assert_ne!(connection, line);
    is_refused(sdk.operator(&emulator, Access::ConnectionString(&connection))).await;
    emulator.stop().await;
}

/// The token expired; its key is valid.
pub(crate) async fn an_unknown_policy(sdk: ServiceSdk) {
    let (emulator, _) = with_known_key(sdk).await;
    let line = emulator.connection_string("line");
    let mut operator = sdk.operator(&emulator, Access::ConnectionString(line));
    operator.get(Kind::Enrollments, "pump").await.unwrap();
    let connection = line.replace("=line;", "=lin;");
    assert_ne!(connection, line);
    is_refused(sdk.operator(&emulator, Access::ConnectionString(&connection))).await;
    emulator.stop().await;
}

/// Neither client checks the expiry of a given token; the service does.
pub(crate) async fn an_expired_token(sdk: ServiceSdk) {
    let (emulator, key) = with_known_key(sdk).await;
    let token = |expiry| {
        SasTokenBuilder::new("localhost", expiry)
            .policy("line")
            .sign_with(&key)
            .reveal()
    };
    let good = token(unix_now() + HOUR.as_secs());
    let mut operator = sdk.operator(&emulator, Access::Sas(&good));
    operator.get(Kind::Enrollments, "pump").await.unwrap();
    let expired = token(unix_now() - HOUR.as_secs());
    is_refused(sdk.operator(&emulator, Access::Sas(&expired))).await;
    emulator.stop().await;
}

/// A token for another path of the service is refused as well.
pub(crate) async fn a_token_for_another_host(sdk: ServiceSdk) {
    let (emulator, key) = with_known_key(sdk).await;
    for resource in [
        "contoso.azure-devices-provisioning.net",
        "localhost/enrollmentGroups",
    ] {
        let claim = SasTokenBuilder::new(resource, unix_now() + HOUR.as_secs());
        let token = claim.policy("line").sign_with(&key).reveal();
        is_refused(sdk.operator(&emulator, Access::Sas(&token))).await;
    }
    emulator.stop().await;
}

/// `sr` of the token includes the port.
pub(crate) async fn a_connection_string_with_a_port(sdk: ServiceSdk) {
    let emulator = Emulator::start_with(0, &[]).await;
    let connection = emulator.connection_string("provisioningserviceowner");
    assert!(connection.starts_with("HostName=localhost:"));
    let mut owner = sdk.owner(&emulator);
    owner
        .put(Kind::Enrollments, &enrollment("pump", &json!({})), None)
        .await
        .unwrap();
    emulator.stop().await;
}

/// An emulator with one enrollment and an access policy with a known key.
async fn with_known_key(sdk: ServiceSdk) -> (Emulator, SymmetricKey) {
    let policy = format!("line=EnrollmentRead,EnrollmentWrite:{KEY}");
    let emulator = Emulator::start_with(HTTPS_PORT, &["--policy", &policy]).await;
    create_pump(sdk, &emulator).await;
    (emulator, SymmetricKey::from_base64(KEY).unwrap())
}

async fn create_pump(sdk: ServiceSdk, emulator: &Emulator) {
    let mut owner = sdk.owner(emulator);
    owner
        .put(Kind::Enrollments, &enrollment("pump", &json!({})), None)
        .await
        .unwrap();
}

/// A reader can read the enrollment without its keys, and cannot change it.
async fn reads_only(mut reader: Operator) {
    let kind = Kind::Enrollments;
    let pump = reader.get(kind, "pump").await.unwrap();
    let all = reader
        .query(kind, json!({ "query": "SELECT *" }))
        .await
        .unwrap();
    assert_eq!(all.pages[0].len(), 1);
    let changed = enrollment("pump", &json!({ "provisioningStatus": "disabled" }));
    let refused = [
        reader.put(kind, &changed, Some("*")).await,
        reader
            .put(kind, &enrollment("more", &json!({})), None)
            .await,
        reader
            .bulk(kind, "create", &[enrollment("more", &json!({}))])
            .await,
        reader.delete(kind, "pump", None).await,
        reader.attestation(kind, "pump").await,
    ];
    for answer in refused {
        reader.assert_refused(answer, UNAUTHORIZED.0, UNAUTHORIZED.1);
    }
    assert_eq!(
        reader.get(kind, "pump").await.unwrap()["etag"],
        pump["etag"]
    );
}

async fn is_refused(mut stranger: Operator) {
    let refused = [
        stranger.get(Kind::Enrollments, "pump").await,
        stranger
            .put(Kind::Enrollments, &enrollment("more", &json!({})), None)
            .await,
        stranger.delete(Kind::Enrollments, "pump", None).await,
    ];
    for answer in refused {
        stranger.assert_refused(answer, UNAUTHORIZED.0, UNAUTHORIZED.1);
    }
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
