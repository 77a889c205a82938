//! Service clients reach an instance by its host name, or by the key that signed their token.

use std::time::Duration;

use dps_emulator::fault::{Effect, Fault, Step};
use dps_emulator::{AccessPolicy, EntraRole, ErrorKind, InstanceOptions, Limits, Permission};
use dps_types::Timestamp;

use super::{create, enroll, name, options, resources, wire};
use crate::common::{
    Answer, Dps, FOREVER, HubApi, KEY_1, KEY_2, KEY_3, Sas, TestClock, linked, percent,
};

const HOST: &str = "suite-1.azure-devices-provisioning.net";

#[tokio::test]
async fn the_key_decides() {
    let dps = Dps::with_device().await;
    let (one, wire_1) = create(&dps, "suite-1").await;
    let (_, wire_2) = create(&dps, "suite-2").await;
    assert!(
        one.service_connection_string()
            .contains(&format!("HostName=localhost:{};", dps.port))
    );
    enroll(&wire_1, "dev-2", KEY_2).await;
    assert_eq!(wire_1.get("/enrollments/dev-2").await.status, 200);
    for other in [&wire_2, &*dps] {
        assert_eq!(other.get("/enrollments/dev-2").await.status, 404);
    }
    assert_eq!(wire_1.get("/enrollments/dev-1").await.status, 404);
    assert_eq!(dps.get("/enrollments/dev-1").await.status, 200);
}

#[tokio::test]
async fn a_policy_of_an_instance_has_its_permissions() {
    let dps = Dps::start().await;
    let reader = AccessPolicy::new("reader", [Permission::EnrollmentRead]);
    let options = options("suite-1").access_policy(reader);
    let instance = dps
        .emulator
        .create_instance(options)
        .await
        .expect("created");
    let connection = instance.connection_string("reader").expect("a policy");
    let reader = dps.by(&connection);
    assert_eq!(reader.get("/enrollments/dev-1").await.status, 404);
    reader
        .delete("/enrollments/dev-1")
        .await
        .assert_error(401_002, "Unauthorized");
    assert!(instance.connection_string("other").is_none());
}

#[tokio::test]
async fn the_host_name_decides() {
    let dps =
        Dps::start_with(|builder| builder.bearer_token("entra", EntraRole::DataContributor)).await;
    let (_, wire) = create(&dps, "suite-1").await;
    enroll(&wire, "dev-1", KEY_1).await;
    let asked = async |host: &str, authorization: &str| {
        let request = dps
            .request("GET", "/enrollments/dev-1?api-version=2021-10-01")
            .header("Host", host)
            .header("Authorization", authorization);
        Answer::to(request).await
    };
    let bearer = "Bearer entra";
    assert_eq!(asked(HOST, bearer).await.status, 200);
    assert_eq!(
        asked(&format!("{HOST}:{}", dps.port), bearer).await.status,
        200
    );
    assert_eq!(asked("localhost", bearer).await.status, 404);
    let token = wire.service_sas().sr(percent(HOST)).sign(&wire.service_key);
    assert_eq!(asked(HOST, &token).await.status, 200);
    // The token names the instance, where the Host header does not.
    assert_eq!(asked("localhost", &token).await.status, 200);
    let of_first = dps.service_sas().sr(percent(HOST)).sign(&dps.service_key);
    assert_eq!(asked(HOST, &of_first).await.status, 401);
    // A name of no instance is not the first one.
    asked("suite-9.azure-devices-provisioning.net", bearer)
        .await
        .assert_error(
            404_001,
            "There is no provisioning service 'suite-9' in this emulator.",
        );
}

#[tokio::test]
async fn the_key_of_a_hub_decides_at_the_hubs() {
    let dps = Dps::start().await;
    let (one, wire) = create(&dps, "suite-1").await;
    enroll(&wire, "dev-1", KEY_1).await;
    wire.device("dev-1").key(KEY_1).assigned().await;
    let hub = one.hub("suite-1.azure-devices.net").expect("linked");
    let api = HubApi::new(&wire, &hub);
    assert_eq!(api.get("/devices/dev-1").await.status, 200);
    assert_eq!(
        dps.hub_api("127.0.0.1").get("/devices/dev-1").await.status,
        404
    );
}

#[tokio::test]
async fn with_a_key_of_several_hubs_the_token_must_name_the_hub() {
    let dps = Dps::start().await;
    let hub = |hub: &str| resources::hub_description(hub);
    let put = |name: &str, hubs: &[serde_json::Value]| {
        let request = resources::resource(&dps, "PUT", name, "");
        Answer::to(request.json(&resources::description(hubs)))
    };
    assert_eq!(
        put("suite-1", &[hub("hub-a"), hub("hub-b")]).await.status,
        201
    );
    assert_eq!(put("suite-2", &[hub("hub-c")]).await.status, 201);
    let sas = |resource: &str| Sas {
        sr: percent(resource),
        se: FOREVER,
        skn: Some("iothubowner".to_owned()),
    };
    let asked = async |resource: &str| {
        let request = dps
            .request("GET", "/devices?api-version=2021-04-12")
            .header("Authorization", sas(resource).sign(KEY_3));
        Answer::to(request).await.status
    };
    for name in ["hub-a", "hub-b", "hub-c"] {
        assert_eq!(asked(name).await, 200, "{name}");
    }
    assert_eq!(asked("localhost").await, 401);
    assert_eq!(put("suite-1", &[]).await.status, 200);
    assert_eq!(asked("localhost").await, 200);
}

#[tokio::test]
async fn names_and_hubs_belong_to_one_instance() {
    let dps = Dps::start().await;
    create(&dps, "suite-1").await;
    for (options, expected) in [
        (
            InstanceOptions::new(name("Suite-1")),
            "The name 'suite-1' is not available: another instance has it.",
        ),
        (
            InstanceOptions::new(name("dps-emulator")),
            "The name 'dps-emulator' is not available: another instance has it.",
        ),
        (
            InstanceOptions::new(name("suite-2")).link_hub(linked("SUITE-1.azure-devices.net")),
            "The IoT hub 'SUITE-1.azure-devices.net' is linked to another instance of this emulator. Unlink it there, or link a hub with another name.",
        ),
        (
            InstanceOptions::new(name("suite-2")).link_hub(linked("127.0.0.1")),
            "The IoT hub '127.0.0.1' is linked to another instance of this emulator. Unlink it there, or link a hub with another name.",
        ),
        (
            options("suite-2").link_hub(linked("suite-2.azure-devices.net")),
            "the hub suite-2.azure-devices.net is linked twice",
        ),
    ] {
        let error = dps.emulator.create_instance(options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert_eq!(error.to_string(), expected);
    }
    let names = dps.emulator.instance_names().await.expect("listed");
    assert_eq!(names, [name("suite-1")]);
}

#[tokio::test]
async fn a_deleted_instance_leaves_nothing() {
    let dps = Dps::start().await;
    let (one, wire_1) = create(&dps, "suite-1").await;
    enroll(&wire_1, "dev-1", KEY_1).await;
    wire_1.device("dev-1").key(KEY_1).assigned().await;
    assert!(one.delete().await.expect("deleted"));
    assert!(!one.delete().await.expect("deleted before"));
    wire_1
        .get("/enrollments/dev-1")
        .await
        .assert_error(401_002, "Unauthorized");
    let found = dps.emulator.instance(one.name()).await;
    assert!(found.expect("read").is_none());

    let (again, wire_2) = create(&dps, "suite-1").await;
    assert_ne!(again.id_scope(), one.id_scope());
    assert_eq!(wire_2.get("/enrollments/dev-1").await.status, 404);
    let found = dps.emulator.instance(&name("suite-1")).await.expect("read");
    let found = found.expect("created again");
    assert_eq!(wire(&dps, &found).service_key, wire_2.service_key);
}

#[tokio::test]
async fn the_number_of_instances_has_a_limit() {
    let mut limits = Limits::default();
    limits.instances = 2;
    let dps = Dps::start_with(|builder| builder.limits(limits)).await;
    let (one, _) = create(&dps, "suite-1").await;
    create(&dps, "suite-2").await;
    let refused = dps.emulator.create_instance(name("suite-3")).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "The emulator has reached its limit of 2 instances."
    );
    one.delete().await.expect("deleted");
    create(&dps, "suite-3").await;
}

#[tokio::test]
async fn faults_and_clocks_belong_to_one_instance() {
    let clock = TestClock::now();
    clock.advance(Duration::from_secs(400 * 24 * 60 * 60));
    let dps = Dps::with_device().await;
    let options = options("suite-1").clock(std::sync::Arc::new(clock.clone()));
    let one = dps
        .emulator
        .create_instance(options)
        .await
        .expect("created");
    let wire_1 = wire(&dps, &one);
    enroll(&wire_1, "dev-1", KEY_1).await;
    one.faults()
        .next(Fault::new(Step::Register, Effect::Fail(500)));
    let device = dps.device("dev-1").key(KEY_1);
    device.assigned().await;
    assert_eq!(one.faults().pending(), 1);
    let device_1 = wire_1.device("dev-1").key(KEY_1);
    assert_eq!(device_1.register().await.status, 500);
    let state = device_1.assigned().await;
    let created: Timestamp = state["createdDateTimeUtc"]
        .as_str()
        .expect("text")
        .parse()
        .expect("a time");
    assert_eq!(created.unix_seconds().unsigned_abs(), clock.unix());
}
