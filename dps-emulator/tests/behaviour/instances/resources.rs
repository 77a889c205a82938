//! The control plane: requests and answers as the swagger has them.

use dps_emulator::EntraRole;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{enroll, name, wire};
use crate::common::{Answer, Control, Dps, KEY_1, KEY_2, KEY_3, Wire, with, with_control};

const SUBSCRIPTION: &str = "/subscriptions/91d12660-3dec-467a-be2a-213b5544ddc0";
const GROUP: &str = "/resourceGroups/myResourceGroup";
const SERVICES: &str = "/providers/Microsoft.Devices/provisioningServices";

/// A request for a resource of the control plane.
pub(super) fn resource(wire: &Wire, method: &str, name: &str, below: &str) -> RequestBuilder {
    let path = format!("{SUBSCRIPTION}{GROUP}{SERVICES}/{name}{below}");
    wire.service_at("2022-12-12", method, &path)
}

/// The body of a request that creates an instance with these hubs.
pub(super) fn description(hubs: &[Value]) -> Value {
    json!({
        "location": "East US",
        "sku": { "name": "S1", "capacity": 1 },
        "properties": { "iotHubs": hubs },
    })
}

pub(super) fn hub_description(hub: &str) -> Value {
    json!({
        "connectionString":
            format!("HostName={hub};SharedAccessKeyName=iothubowner;SharedAccessKey={KEY_3}"),
        "location": "eastus",
    })
}

async fn answer(request: RequestBuilder, status: u16) -> Answer {
    let answer = Answer::to(request).await;
    assert_eq!(answer.status, status, "{answer:?}");
    answer
}

async fn put(dps: &Dps, document: &Value, status: u16) -> Answer {
    let request = resource(dps, "PUT", "myFirstProvisioningService", "");
    answer(request.json(document), status).await
}

async fn get(dps: &Dps) -> Value {
    let request = resource(dps, "GET", "myFirstProvisioningService", "");
    answer(request, 200).await.json()
}

#[track_caller]
fn assert_refused(answer: &Answer, code: u64, name: &str, message: &str) {
    assert_eq!(u64::from(answer.status), code / 1000, "{answer:?}");
    let expected =
        json!({ "code": code, "httpStatusCode": name, "message": message, "details": null });
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn an_instance_is_created_read_and_deleted() {
    let dps = Dps::start().await;
    let document = json!({
        "location": "East US",
        "tags": { "suite": "nightly" },
        "sku": { "name": "S1", "capacity": 1 },
        "properties": {
            "enableDataResidency": false,
            "allocationPolicy": "GeoLatency",
            "iotHubs": [{
                "connectionString": format!("HostName=hub-a.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY_3}"),
                "location": "eastus",
                "applyAllocationPolicy": false,
                "allocationWeight": 7,
            }],
            "somethingNew": { "a": [1] },
            "idScope": "0neMINE",
        },
    });
    let created = put(&dps, &document, 201).await.json();
    let etag = created["etag"].as_str().expect("an etag");
    let id_scope = created["properties"]["idScope"].as_str().expect("text");
    assert!(
        id_scope.starts_with("0ne") && id_scope.len() == 11,
        "{id_scope}"
    );
    let expected = json!({
        "etag": etag,
        "properties": {
            "enableDataResidency": false,
            "somethingNew": { "a": [1] },
            "state": "Active",
            "provisioningState": "Succeeded",
            "iotHubs": [{
                "applyAllocationPolicy": false,
                "allocationWeight": 7,
                "name": "hub-a.azure-devices.net",
                "connectionString": "HostName=hub-a.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey=****",
                "location": "eastus",
            }],
            "allocationPolicy": "GeoLatency",
            "serviceOperationsHostName": "myfirstprovisioningservice.azure-devices-provisioning.net",
            "deviceProvisioningHostName": "global.azure-devices-provisioning.net",
            "idScope": id_scope,
            "authorizationPolicies": [{
                "keyName": "provisioningserviceowner",
                "rights": "ServiceConfig, DeviceConnect, EnrollmentWrite",
            }],
            "disableLocalAuth": false,
            "publicNetworkAccess": "Enabled",
        },
        "sku": { "name": "S1", "capacity": 1, "tier": "Standard" },
        "id": "/subscriptions/91d12660-3dec-467a-be2a-213b5544ddc0/resourceGroups/myResourceGroup/providers/Microsoft.Devices/provisioningServices/myfirstprovisioningservice",
        "name": "myfirstprovisioningservice",
        "type": "Microsoft.Devices/provisioningServices",
        "location": "East US",
        "resourcegroup": "myResourceGroup",
        "subscriptionid": "91d12660-3dec-467a-be2a-213b5544ddc0",
        "tags": { "suite": "nightly" },
    });
    assert_eq!(created, expected);
    assert_eq!(get(&dps).await, expected);

    let request = resource(&dps, "DELETE", "MYFIRSTprovisioningService", "");
    assert_eq!(answer(request, 200).await.text, "");
    let request = resource(&dps, "DELETE", "myFirstProvisioningService", "");
    answer(request, 204).await;
    let gone = Answer::to(resource(&dps, "GET", "myFirstProvisioningService", "")).await;
    assert_refused(
        &gone,
        404_001,
        "NotFound",
        "The provisioning service 'myFirstProvisioningService' does not exist in the resource group 'myResourceGroup'.",
    );
}

#[tokio::test]
async fn keys_are_listed_and_work() {
    let dps = Dps::start().await;
    put(&dps, &description(&[]), 201).await;
    let request = resource(&dps, "POST", "myFirstProvisioningService", "/listkeys");
    let mut keys = answer(request, 200).await.json();
    let key = keys["value"][0]["primaryKey"].take();
    let secondary = keys["value"][0]["secondaryKey"].take();
    assert_ne!(key, secondary);
    assert_eq!(
        keys,
        json!({ "value": [{
            "keyName": "provisioningserviceowner",
            "primaryKey": null,
            "secondaryKey": null,
            "rights": "ServiceConfig, DeviceConnect, EnrollmentWrite",
        }] })
    );
    let below = "/keys/provisioningserviceowner/listkeys";
    let request = resource(&dps, "POST", "myFirstProvisioningService", below);
    assert_eq!(answer(request, 200).await.json()["primaryKey"], key);
    let request = resource(
        &dps,
        "POST",
        "myFirstProvisioningService",
        "/keys/none/listkeys",
    );
    assert_refused(
        &Answer::to(request).await,
        404_001,
        "NotFound",
        "The policy 'none' does not exist.",
    );
    let key = key.as_str().expect("text");
    let operator = dps.by(&format!(
        "SharedAccessKeyName=provisioningserviceowner;SharedAccessKey={key}"
    ));
    enroll(&operator, "dev-1", KEY_1).await;
    assert_eq!(dps.get("/enrollments/dev-1").await.status, 404);
}

#[tokio::test]
async fn a_new_description_takes_effect_at_once() {
    let dps = Dps::start().await;
    put(&dps, &description(&[hub_description("hub-a")]), 201).await;
    let instance = dps
        .emulator
        .instance(&name("myFirstProvisioningService"))
        .await;
    let instance = instance.expect("read").expect("created");
    let wire_1 = wire(&dps, &instance);
    enroll(&wire_1, "dev-1", KEY_1).await;
    let state = wire_1.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["assignedHub"], "hub-a");

    // The description that was read is written back with another hub: masked keys and unmentioned keys stay.
    let mut read = get(&dps).await;
    let hub_b = hub_description("hub-b");
    read["properties"]["iotHubs"]
        .as_array_mut()
        .expect("hubs")
        .push(hub_b);
    let changed = put(&dps, &read, 200).await.json();
    assert_ne!(changed["etag"], read["etag"]);
    assert_eq!(instance.hub_names(), ["hub-a", "hub-b"]);
    assert_eq!(wire_1.get("/enrollments/dev-1").await.status, 200);
    let expected = format!(
        "HostName=localhost:{};SharedAccessKeyName=iothubowner;SharedAccessKey={KEY_3}",
        dps.port
    );
    for name in ["hub-a", "hub-b"] {
        let hub = instance.hub(name).expect("linked");
        assert_eq!(*hub.connection_string(), expected);
    }

    // A hub that is left out is unlinked, and another instance may link it.
    put(&dps, &description(&[hub_description("hub-b")]), 200).await;
    assert_eq!(instance.hub_names(), ["hub-b"]);
    let state = wire_1.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["assignedHub"], "hub-b");
    let other = resource(&dps, "PUT", "another", "");
    answer(other.json(&description(&[hub_description("hub-a")])), 201).await;
    let again = put(&dps, &description(&[hub_description("hub-a")]), 409).await;
    assert_refused(
        &again,
        409_001,
        "Conflict",
        "The IoT hub 'hub-a' is linked to another instance of this emulator. Unlink it there, or link a hub with another name.",
    );
}

#[tokio::test]
async fn policies_are_replaced_with_their_keys() {
    let dps = Dps::start().await;
    let policies = |rights: &str| {
        json!([
            { "keyName": "reader", "rights": rights, "primaryKey": KEY_1, "secondaryKey": KEY_2 },
            { "keyName": "writer", "rights": "EnrollmentWrite" },
        ])
    };
    let mut document = description(&[]);
    document["properties"]["authorizationPolicies"] = policies("EnrollmentRead");
    put(&dps, &document, 201).await;
    let reader = dps.by(&format!(
        "SharedAccessKeyName=reader;SharedAccessKey={KEY_1}"
    ));
    assert_eq!(reader.get("/enrollments/dev-1").await.status, 404);
    assert_eq!(reader.delete("/enrollments/dev-1").await.status, 401);
    document["properties"]["authorizationPolicies"] = policies("EnrollmentRead, EnrollmentWrite");
    put(&dps, &document, 200).await;
    enroll(&reader, "dev-1", KEY_1).await;
    // The key identifies the instance, so no other may have it.
    let other = resource(&dps, "PUT", "another", "").json(&document);
    assert_refused(
        &Answer::to(other).await,
        409_001,
        "Conflict",
        "A policy 'reader' of another instance of this emulator has the same key. Leave the keys out, or choose others: a key identifies its instance.",
    );
    document["properties"]["authorizationPolicies"] = json!([]);
    put(&dps, &document, 200).await;
    assert_eq!(reader.get("/enrollments/dev-1").await.status, 401);
}

#[tokio::test]
async fn tags_are_patched() {
    let dps = Dps::start().await;
    put(&dps, &description(&[]), 201).await;
    let before = get(&dps).await;
    let request = resource(&dps, "PATCH", "myFirstProvisioningService", "");
    let body = json!({ "tags": { "suite": "nightly" } });
    let mut patched = answer(request.json(&body), 200).await.json();
    assert_eq!(patched["tags"], json!({ "suite": "nightly" }));
    assert_eq!(get(&dps).await, patched);
    patched["tags"] = json!({});
    patched["etag"] = before["etag"].clone();
    assert_eq!(patched, before);
}

#[tokio::test]
async fn instances_are_listed_by_subscription_and_resource_group() {
    let dps = Dps::start().await;
    let names = async |path: &str| {
        let request = dps.service_at("2022-12-12", "GET", path);
        let document = answer(request, 200).await.json();
        let all = document["value"].as_array().expect("a list").clone();
        let names = all.iter().map(|it| it["name"].as_str().expect("a name"));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names
    };
    let of_subscription = format!("{SUBSCRIPTION}{SERVICES}");
    assert!(names(&of_subscription).await.is_empty());
    for (group, name) in [("one", "suite-1"), ("two", "suite-2"), ("two", "suite-3")] {
        let path = format!("{SUBSCRIPTION}/resourceGroups/{group}{SERVICES}/{name}");
        let request = dps.service_at("2022-12-12", "PUT", &path);
        answer(request.json(&description(&[])), 201).await;
    }
    assert_eq!(
        names(&of_subscription).await,
        ["suite-1", "suite-2", "suite-3"]
    );
    let of_group = format!("{SUBSCRIPTION}/resourceGroups/TWO{SERVICES}");
    assert_eq!(names(&of_group).await, ["suite-2", "suite-3"]);
    // The instances that did not come through the control plane have a place of their own.
    let own = format!("/subscriptions/00000000-0000-0000-0000-000000000000{SERVICES}");
    assert_eq!(names(&own).await, ["dps-emulator"]);

    // A name is unique, not only in its resource group.
    let path = format!("{SUBSCRIPTION}/resourceGroups/one{SERVICES}/suite-2");
    let request = dps.service_at("2022-12-12", "PUT", &path);
    let refused = Answer::to(request.json(&description(&[]))).await;
    assert_refused(
        &refused,
        409_001,
        "Conflict",
        "The name 'suite-2' is not available: another instance has it.",
    );
    assert_eq!(
        Answer::to(dps.service_at("2022-12-12", "GET", &path))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn the_availability_of_names() {
    let dps = Dps::start().await;
    put(&dps, &description(&[]), 201).await;
    for (asked, expected) in [
        ("suite-2", json!({ "nameAvailable": true })),
        (
            "myFirstProvisioningService",
            json!({
                "nameAvailable": false,
                "reason": "AlreadyExists",
                "message": "The name 'myfirstprovisioningservice' is not available: another instance has it.",
            }),
        ),
        (
            "a",
            json!({
                "nameAvailable": false,
                "reason": "Invalid",
                "message": "'a' is not a valid name of an instance: it must be 3 to 64 letters, digits and hyphens, with a letter or digit at both ends",
            }),
        ),
    ] {
        let path = format!(
            "{SUBSCRIPTION}/providers/Microsoft.Devices/checkProvisioningServiceNameAvailability"
        );
        let request = dps.service_at("2022-12-12", "POST", &path);
        let document = answer(request.json(&json!({ "name": asked })), 200)
            .await
            .json();
        assert_eq!(document, expected);
    }
}

#[tokio::test]
async fn skus_and_operation_results() {
    let dps = Dps::start().await;
    put(&dps, &description(&[]), 201).await;
    let request = resource(&dps, "GET", "myFirstProvisioningService", "/skus");
    assert_eq!(
        answer(request, 200).await.json(),
        json!({ "value": [{ "name": "S1" }] })
    );
    let below = "/operationresults/1508265712453";
    let request = resource(&dps, "GET", "myFirstProvisioningService", below);
    answer(request, 404).await;
}

#[tokio::test]
async fn descriptions_that_are_refused() {
    let dps = Dps::start().await;
    let whole = description(&[]);
    let without = |member: &str| {
        let mut document = whole.clone();
        document.as_object_mut().expect("an object").remove(member);
        document
    };
    let properties = |properties: Value| with(whole.clone(), json!({ "properties": properties }));
    let hub = |text: &str| {
        properties(json!({ "iotHubs": [{ "connectionString": text, "location": "eastus" }] }))
    };
    let policy = |rights: &str, key: &str| {
        properties(
            json!({ "authorizationPolicies": [{ "keyName": "p", "rights": rights, "primaryKey": key }] }),
        )
    };
    let masked = "HostName=hub-a;SharedAccessKeyName=iothubowner;SharedAccessKey=****";
    let unreadable = "HostName=hub-a;SharedAccessKeyName=iothubowner;SharedAccessKey=secret!";
    for (document, message) in [
        (without("location"), "The member location is required."),
        (without("sku"), "The member sku is required."),
        (without("properties"), "The member properties is required."),
        (
            properties(json!({ "allocationPolicy": "Nearest" })),
            "'nearest' is not a valid allocationPolicy: it must be Hashed, GeoLatency or Static.",
        ),
        (
            hub(masked),
            "The key of the IoT hub 'hub-a' is masked, and the hub is not linked yet.",
        ),
        (
            properties(json!({ "iotHubs": [{ "location": "eastus" }] })),
            "An IoT hub has neither a connectionString nor a hostName.",
        ),
        (
            properties(
                json!({ "iotHubs": [with(hub_description("hub-a"), json!({ "allocationWeight": 0 }))] }),
            ),
            "The allocationWeight of the IoT hub 'hub-a' must be 1 to 1000, and is 0.",
        ),
        (
            properties(json!({ "iotHubs": [hub_description("hub-a"), hub_description("HUB-A")] })),
            "The IoT hub 'HUB-A' is linked twice.",
        ),
        (
            policy("Everything", KEY_1),
            "'Everything' is not a valid permission: use one of ServiceConfig, EnrollmentRead, EnrollmentWrite, RegistrationStatusRead, RegistrationStatusWrite, DeviceConnect.",
        ),
    ] {
        let refused = put(&dps, &document, 400).await;
        assert_refused(&refused, 400_004, "BadRequest", message);
    }
    for document in [hub(unreadable), policy("EnrollmentRead", "secret!")] {
        let refused = put(&dps, &document, 400).await;
        assert!(!refused.text.contains("secret!"), "{refused:?}");
    }
    let bad_name = resource(&dps, "PUT", "a_b", "").json(&whole);
    answer(bad_name, 400).await;
    let first = resource(&dps, "PUT", "dps-emulator", "").json(&whole);
    answer(first, 400).await;
    let stale = resource(&dps, "PUT", "suite-1", "").header("If-Match", "\"x\"");
    answer(stale.json(&whole), 412).await;
    assert!(
        dps.emulator
            .instance_names()
            .await
            .expect("listed")
            .is_empty()
    );
}

#[tokio::test]
async fn the_first_instance_is_read_only() {
    let dps = Dps::start().await;
    let document = answer(resource(&dps, "GET", "dps-emulator", ""), 200)
        .await
        .json();
    assert_eq!(document["properties"]["idScope"], "0ne00000001");
    assert_eq!(document["properties"]["iotHubs"][0]["name"], "127.0.0.1");
    let keys = resource(&dps, "POST", "dps-emulator", "/listkeys");
    let keys = answer(keys, 200).await.json();
    assert_eq!(keys["value"][0]["primaryKey"], dps.service_key.as_str());
    for request in [
        resource(&dps, "DELETE", "dps-emulator", ""),
        resource(&dps, "PATCH", "dps-emulator", "").json(&json!({ "tags": {} })),
    ] {
        answer(request, 400).await;
    }
}

#[tokio::test]
async fn callers_of_the_control_plane() {
    let dps = Dps::start_with(|builder| {
        builder
            .bearer_token("contributor", EntraRole::DataContributor)
            .bearer_token("reader", EntraRole::DataReader)
    })
    .await;
    let path = format!("{SUBSCRIPTION}{GROUP}{SERVICES}/suite-1?api-version=2022-12-12");
    let by = |token: &str| {
        let request = dps.request("PUT", &path).json(&description(&[]));
        request.header("Authorization", format!("Bearer {token}"))
    };
    for token in ["reader", "other"] {
        let refused = Answer::to(by(token)).await;
        assert_refused(&refused, 401_002, "Unauthorized", "Unauthorized");
    }
    answer(by("contributor"), 201).await;
    let one = dps.emulator.instance(&name("suite-1")).await.expect("read");
    let one = wire(&dps, &one.expect("created"));
    // The owner of an instance reads and changes that instance, and no other.
    answer(resource(&one, "GET", "suite-1", ""), 200).await;
    answer(resource(&one, "GET", "dps-emulator", ""), 401).await;
    let other = resource(&one, "PUT", "suite-2", "").json(&description(&[]));
    answer(other, 401).await;
    answer(resource(&one, "DELETE", "suite-1", ""), 200).await;
}

#[tokio::test]
async fn certificates_belong_to_one_instance() {
    let dps = Dps::start().await;
    put(&dps, &description(&[]), 201).await;
    let root = dps_emulator::CertificateAuthority::new("Contoso Root").expect("a CA");
    let upload = json!({ "properties": { "certificate": root.certificate_pem() } });
    let request = resource(
        &dps,
        "PUT",
        "myFirstProvisioningService",
        "/certificates/contoso",
    );
    answer(request.json(&upload), 200).await;
    let list = async |name: &str| {
        let request = resource(&dps, "GET", name, "/certificates");
        let document = answer(request, 200).await.json();
        document["value"].as_array().expect("a list").len()
    };
    assert_eq!(list("myFirstProvisioningService").await, 1);
    assert_eq!(list("dps-emulator").await, 0);
    // A name that no instance has means the first one.
    assert_eq!(list("any-name").await, 0);
}

#[tokio::test]
async fn the_control_endpoint_needs_no_token_and_shows_no_key() {
    let dps = Dps::start_with(with_control).await;
    let control = Control::of(&dps);
    let path = format!("{SUBSCRIPTION}{GROUP}{SERVICES}/suite-1");
    let document = description(&[hub_description("hub-a")]);
    let created = control.send("PUT", &path, &document).await;
    assert_eq!(created.status, 201, "{created:?}");
    let keys = control.request("POST", &format!("{path}/listkeys"));
    let keys = answer(keys, 200).await.json();
    let key = keys["value"][0]["primaryKey"].as_str().expect("a key");
    let one = dps.emulator.instance(&name("suite-1")).await.expect("read");
    let one = one.expect("created");
    assert!(one.service_connection_string().ends_with(key));
    let exchanges = control.get("/exchanges").await.text;
    assert!(exchanges.contains("hub-a"), "{exchanges}");
    assert!(!exchanges.contains(key) && !exchanges.contains(KEY_3));
    let listed = control.get(&format!("{SUBSCRIPTION}{SERVICES}")).await;
    assert_eq!(listed.json()["value"][0]["name"], "suite-1");
    let deleted = control.request("DELETE", &path);
    answer(deleted, 200).await;
}
