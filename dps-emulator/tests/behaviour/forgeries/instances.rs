//! Several instances: the keys, devices and hosts of one are not those of another, and only an operator changes instances.

use dps_emulator::EntraRole;
use serde_json::json;

use super::TRANSPORTS;
use super::http::exchange;
use crate::common::{Answer, Connect, Dps, HubApi, KEY_1, KEY_2, KEY_3, Wire, hub_token, percent};
use crate::instances::{create, enroll};

const FOLDER: &str =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices";

/// Requests of the control plane, below the instances.
const RESOURCES: [(&str, &str); 15] = [
    ("GET", "/{name}"),
    ("PUT", "/{name}"),
    ("PATCH", "/{name}"),
    ("DELETE", "/{name}"),
    ("POST", "/{name}/listkeys"),
    ("POST", "/{name}/keys/provisioningserviceowner/listkeys"),
    ("GET", "/{name}/certificates"),
    ("PUT", "/{name}/certificates/ca"),
    ("DELETE", "/{name}/certificates/ca"),
    ("POST", "/{name}/certificates/ca/generateVerificationCode"),
    ("POST", "/{name}/certificates/ca/verify"),
    ("POST", "/suite-1/../{name}/listkeys"),
    ("POST", "/suite-1%2F..%2F{name}/listkeys"),
    ("POST", "//{name}/listkeys"),
    ("GET", ""),
];

/// Tokens of the operator of `suite-1`, who must not reach `suite-2`.
fn tokens(own: &Wire, dps: &Dps) -> Vec<(&'static str, String)> {
    let sas = own.service_sas();
    let key = &own.service_key;
    let host = |name: &str| percent(&format!("{name}.azure-devices-provisioning.net"));
    vec![
        ("its own token", sas.sign(key)),
        (
            "a token for its own host",
            sas.clone().sr(host("suite-1")).sign(key),
        ),
        (
            "a token for the other host",
            sas.clone().sr(host("suite-2")).sign(key),
        ),
        (
            "a token for an unknown host",
            sas.clone().sr(host("suite-9")).sign(key),
        ),
        (
            "the policy of devices",
            sas.clone().skn(Some("registration")).sign(key),
        ),
        ("the key of a device", sas.sign(KEY_1)),
        ("a token of a device", crate::common::token("dev-1", KEY_1)),
        (
            "a token of a hub",
            dps.hub_api("127.0.0.1")
                .sas()
                .sign(&dps.hub_api("127.0.0.1").key),
        ),
        (
            "a bearer token",
            "Bearer eyJhbGciOiJub25lIn0.e30.".to_owned(),
        ),
        ("nothing", String::new()),
    ]
}

#[tokio::test]
async fn no_operator_of_one_instance_reaches_another() {
    let dps = Dps::start().await;
    let (_, one) = create(&dps, "suite-1").await;
    let (two, wire_2) = create(&dps, "suite-2").await;
    enroll(&wire_2, "dev-1", KEY_2).await;
    dps.enroll("dev-1").await;
    for (name, token) in tokens(&one, &dps) {
        for (method, path) in RESOURCES {
            let path = path.replace("{name}", "suite-2");
            let answer = send(
                &dps,
                method,
                &format!("{FOLDER}{path}?api-version=2022-12-12"),
                "localhost",
                &token,
            )
            .await;
            // A folder of all instances is for the operator of the first one.
            assert!(
                !answer.starts_with("HTTP/1.1 2"),
                "{name}: {method} {path}: {answer}"
            );
            assert!(
                !answer.contains(&wire_2.service_key),
                "{name}: {method} {path}"
            );
        }
        for host in [
            "suite-2.azure-devices-provisioning.net",
            "SUITE-2.azure-devices-provisioning.net:443",
            "localhost",
        ] {
            for (method, path) in [
                ("GET", "/enrollments/dev-1"),
                ("PUT", "/enrollments/dev-1"),
                ("DELETE", "/enrollments/dev-1"),
                ("POST", "/enrollments/dev-1/attestationmechanism"),
                ("GET", "/registrations/dev-1"),
            ] {
                // At the host of the machine the key decides, and the operator has no such device.
                let answer = send(
                    &dps,
                    method,
                    &format!("{path}?api-version=2021-10-01"),
                    host,
                    &token,
                )
                .await;
                assert!(
                    !answer.contains(KEY_1) && !answer.contains(KEY_2),
                    "{name}: {method} {path} {host}"
                );
                let changed =
                    method == "PUT" && host == "localhost" && answer.starts_with("HTTP/1.1 2");
                let refused = !answer.starts_with("HTTP/1.1 2");
                assert!(
                    refused || changed,
                    "{name}: {method} {path} {host}: {answer}"
                );
            }
        }
    }
    assert_eq!(wire_2.get("/enrollments/dev-1").await.status, 200);
    assert_eq!(dps.get("/enrollments/dev-1").await.status, 200);
    assert!(two.delete().await.expect("deleted"), "it was still there");
}

/// RFC 9112, 3.2.2: the host of an absolute target counts, and not the `Host` header.
#[tokio::test]
async fn the_host_of_an_absolute_target_decides() {
    let dps =
        Dps::start_with(|builder| builder.bearer_token("entra", EntraRole::DataContributor)).await;
    let (_, one) = create(&dps, "suite-1").await;
    enroll(&one, "dev-1", KEY_1).await;
    let host = |name: &str| format!("{name}.azure-devices-provisioning.net");
    for (target, header, expected) in [
        (host("suite-1"), host("suite-9"), 200),
        (host("suite-9"), host("suite-1"), 404),
        (format!("{}:8443", host("suite-1")), host("suite-9"), 200),
        (format!("suite-1@{}", host("suite-9")), host("suite-1"), 404),
        (host("suite-1"), "a\r\nHost: b".to_owned(), 400),
    ] {
        let request = format!(
            "GET https://{target}/enrollments/dev-1?api-version=2021-10-01 HTTP/1.1\r\nHost: {header}\r\n\
             Connection: close\r\nAuthorization: Bearer entra\r\n\r\n"
        );
        let answer = exchange(&dps, &request).await;
        let expected = format!("HTTP/1.1 {expected} ");
        assert!(answer.starts_with(&expected), "{target} {header}: {answer}");
    }
}

/// Sends a request as it is, and returns everything until the emulator closes the connection.
async fn send(dps: &Dps, method: &str, path: &str, host: &str, token: &str) -> String {
    let body =
        json!({ "registrationId": "dev-1", "location": "l", "sku": { "name": "S1" } }).to_string();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: {token}\r\nIf-Match: *\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(dps, &request).await
}

/// `dev-1` is a device of three instances, with different keys.
#[tokio::test]
async fn no_device_of_one_instance_is_one_of_another() {
    let dps = Dps::start().await;
    let (one, wire_1) = create(&dps, "suite-1").await;
    let (_, wire_2) = create(&dps, "suite-2").await;
    dps.enroll("dev-1").await;
    enroll(&wire_1, "dev-1", KEY_3).await;
    let of = |wire: &Wire, key: &str| crate::common::Sas::device(&wire.scope, "dev-1").sign(key);
    for (name, token) in [
        ("the key of the other instance", of(&dps, KEY_3)),
        ("the id scope of the other instance", of(&wire_1, KEY_1)),
        ("both of the other instance", of(&wire_1, KEY_3)),
        (
            "the id scope of an instance without the device",
            of(&wire_2, KEY_1),
        ),
    ] {
        for transport in TRANSPORTS {
            let accepted = super::Credentials::Token(&token)
                .register(&dps, transport)
                .await;
            assert!(!accepted, "{name} over {transport}");
        }
    }
    for wire in [&wire_1, &wire_2] {
        for key in [KEY_1, KEY_2] {
            let answer = wire.device("dev-1").token(of(&dps, key)).register().await;
            assert_eq!(answer.status, 401, "{answer:?}");
        }
    }
    // The device of an instance at the hub of another.
    wire_1.device("dev-1").key(KEY_3).assigned().await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    let (own, other) = ("127.0.0.1", "suite-1.azure-devices.net");
    for (hub, resource, key) in [
        (other, other, KEY_2),
        (other, own, KEY_2),
        (other, own, KEY_3),
        (own, other, KEY_1),
        (own, other, KEY_3),
        (own, own, KEY_3),
        ("suite-2.azure-devices.net", other, KEY_3),
        (
            "suite-2.azure-devices.net",
            "suite-2.azure-devices.net",
            KEY_3,
        ),
    ] {
        let token = hub_token(resource, "dev-1", key, crate::common::FOREVER);
        let connect = Connect::to_hub(hub, "dev-1").password(&token);
        assert!(
            !dps.mqtt().await.try_connect(&connect).await,
            "{hub} {resource}"
        );
        assert!(
            !dps.websocket().await.try_connect(&connect).await,
            "{hub} {resource}"
        );
    }
    // The back end of one hub at the device of another.
    let api = HubApi::new(&wire_1, &one.hub(other).expect("linked"));
    let first = dps.hub_api(own);
    for (name, token) in [
        (
            "the key of the other hub",
            first.sas().sr(percent(other)).sign(&first.key),
        ),
        (
            "the name of the other hub",
            api.sas().sr(percent(own)).sign(&api.key),
        ),
    ] {
        let answer = Answer::to(api.request_with("GET", "/devices/dev-1", &token)).await;
        assert_eq!(answer.status, 401, "{name}: {answer:?}");
    }
    assert_eq!(api.get("/devices/dev-1").await.status, 200);
    dps.mqtt()
        .await
        .connect(&Connect::to_hub_with_key(own, "dev-1", KEY_1))
        .await;
}
