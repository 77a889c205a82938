//! Instances never see each other: one answers as if it were alone, with any requests at another.

use dps_emulator::CertificateAuthority;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{create, name};
use crate::common::{
    Answer, Dps, HubApi, KEY_1, KEY_2, Wire, derive, key_enrollment, key_group, with,
};

/// The operations of operators and devices. Numbers select one of a few ids, keys and names, so that operations meet.
#[derive(Debug, Clone)]
enum Operation {
    PutEnrollment(u8, u8),
    GetEnrollment(u8),
    DeleteEnrollment(u8),
    Keys(u8),
    QueryEnrollments,
    Bulk(&'static str),
    PutGroup(u8, u8),
    GetGroup(u8),
    DeleteGroup(u8),
    GroupKeys(u8),
    QueryGroups,
    Register(u8, u8),
    RegisterInGroup(u8, u8),
    Lookup(u8, u8),
    GetRegistration(u8),
    DeleteRegistration(u8),
    QueryRegistrations(u8),
    PutCertificate(u8),
    ListCertificates,
    ListDevices,
    Twin(u8),
}

/// An operation, and whether it is for the instance under test or for its neighbour.
fn operations() -> impl Strategy<Value = Vec<(bool, Operation)>> {
    use Operation::*;
    let (id, key) = (0..3u8, 0..2u8);
    let operation = prop_oneof![
        3 => (id.clone(), key.clone()).prop_map(|(id, key)| PutEnrollment(id, key)),
        1 => id.clone().prop_map(GetEnrollment),
        1 => id.clone().prop_map(DeleteEnrollment),
        1 => id.clone().prop_map(Keys),
        1 => Just(QueryEnrollments),
        1 => prop_oneof![Just("create"), Just("update"), Just("delete")].prop_map(Bulk),
        2 => (id.clone(), key.clone()).prop_map(|(id, key)| PutGroup(id, key)),
        1 => id.clone().prop_map(GetGroup),
        1 => id.clone().prop_map(DeleteGroup),
        1 => id.clone().prop_map(GroupKeys),
        1 => Just(QueryGroups),
        3 => (id.clone(), key.clone()).prop_map(|(id, key)| Register(id, key)),
        2 => (id.clone(), key.clone()).prop_map(|(id, key)| RegisterInGroup(id, key)),
        1 => (id.clone(), key.clone()).prop_map(|(id, key)| Lookup(id, key)),
        1 => id.clone().prop_map(GetRegistration),
        1 => id.clone().prop_map(DeleteRegistration),
        1 => id.clone().prop_map(QueryRegistrations),
        1 => id.clone().prop_map(PutCertificate),
        1 => Just(ListCertificates),
        1 => Just(ListDevices),
        1 => id.prop_map(Twin),
    ];
    prop::collection::vec((any::<bool>(), operation), 1..24)
}

/// An instance with its clients.
struct Side<'a> {
    name: String,
    wire: Wire,
    hub: HubApi,
    ca: &'a CertificateAuthority,
}

impl<'a> Side<'a> {
    async fn new(dps: &Dps, text: &str, ca: &'a CertificateAuthority) -> Self {
        let (instance, wire) = create(dps, text).await;
        let hub = instance.hub(&format!("{text}.azure-devices.net"));
        Self {
            name: text.to_owned(),
            hub: HubApi::new(&wire, &hub.expect("linked")),
            wire,
            ca,
        }
    }

    /// Performs an operation, and returns what the client sees, without what differs from one run to the next.
    async fn perform(&self, operation: &Operation) -> (u16, Value) {
        use Operation::*;
        let wire = &self.wire;
        let enrollment = |id: u8| format!("/enrollments/dev-{id}");
        let group = |id: u8| format!("/enrollmentGroups/group-{id}");
        let keys = |key: u8| {
            if key == 0 {
                (KEY_1, KEY_2)
            } else {
                (KEY_2, KEY_1)
            }
        };
        let document = |id: u8, key: u8| {
            let (primary, secondary) = keys(key);
            with(
                key_enrollment(&format!("dev-{id}"), primary, secondary),
                json!({}),
            )
        };
        let query = json!({ "query": "SELECT *" });
        let post = |path: String| wire.service("POST", &path);
        let certificates = format!(
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/{}/certificates",
            self.name
        );
        let answer = match *operation {
            PutEnrollment(id, key) => {
                let request = wire.service("PUT", &enrollment(id));
                Answer::to(creating(request, key).json(&document(id, key))).await
            }
            GetEnrollment(id) => wire.get(&enrollment(id)).await,
            DeleteEnrollment(id) => wire.delete(&enrollment(id)).await,
            Keys(id) => Answer::to(post(format!("{}/attestationmechanism", enrollment(id)))).await,
            QueryEnrollments => {
                Answer::to(post("/enrollments/query".to_owned()).json(&query)).await
            }
            Bulk(mode) => {
                let all = json!({ "mode": mode, "enrollments": [document(0, 0), document(1, 0)] });
                Answer::to(post("/enrollments".to_owned()).json(&all)).await
            }
            PutGroup(id, key) => {
                let (primary, secondary) = keys(key);
                let document = key_group(&format!("group-{id}"), primary, secondary);
                let request = wire.service("PUT", &group(id));
                Answer::to(creating(request, key).json(&document)).await
            }
            GetGroup(id) => wire.get(&group(id)).await,
            DeleteGroup(id) => wire.delete(&group(id)).await,
            GroupKeys(id) => Answer::to(post(format!("{}/attestationmechanism", group(id)))).await,
            QueryGroups => {
                Answer::to(post("/enrollmentGroups/query".to_owned()).json(&query)).await
            }
            Register(id, key) => {
                let device = wire.device(&format!("dev-{id}")).key(keys(key).0);
                let answer = device.register().await;
                if answer.status == 202 {
                    let operation = answer.json()["operationId"].clone();
                    let document = device.finish(operation.as_str().expect("text")).await;
                    return (200, self.constant(document));
                }
                answer
            }
            RegisterInGroup(id, key) => {
                let id = format!("of-group-{id}");
                let device = wire.device(&id).key(&derive(keys(key).0, &id));
                let answer = device.register().await;
                if answer.status == 202 {
                    let operation = answer.json()["operationId"].clone();
                    let document = device.finish(operation.as_str().expect("text")).await;
                    return (200, self.constant(document));
                }
                answer
            }
            Lookup(id, key) => {
                let device = wire.device(&format!("dev-{id}")).key(keys(key).0);
                device.lookup().await
            }
            GetRegistration(id) => wire.get(&format!("/registrations/dev-{id}")).await,
            DeleteRegistration(id) => wire.delete(&format!("/registrations/dev-{id}")).await,
            QueryRegistrations(id) => {
                Answer::to(post(format!("/registrations/group-{id}/query"))).await
            }
            PutCertificate(id) => {
                let path = format!("{certificates}/ca-{id}");
                let request = wire.service_at("2022-12-12", "PUT", &path);
                let body = json!({ "properties": { "certificate": self.ca.certificate_pem() } });
                Answer::to(request.json(&body)).await
            }
            ListCertificates => {
                Answer::to(wire.service_at("2022-12-12", "GET", &certificates)).await
            }
            ListDevices => self.hub.get("/devices").await,
            Twin(id) => self.hub.get(&format!("/twins/dev-{id}")).await,
        };
        let body = serde_json::from_str(&answer.text).unwrap_or_default();
        (answer.status, self.constant(body))
    }

    /// The document without versions, times and random ids, and with a fixed name.
    fn constant(&self, document: Value) -> Value {
        const CHANGING: [&str; 14] = [
            "$metadata",
            "ExceptionMessage",
            "connectionStateUpdatedTime",
            "created",
            "createdDateTimeUtc",
            "deviceEtag",
            "etag",
            "generationId",
            "lastUpdatedDateTimeUtc",
            "operationId",
            "statusUpdatedTime",
            "timestampUtc",
            "trackingId",
            "updated",
        ];
        match document {
            Value::Object(members) => members
                .into_iter()
                .filter(|(name, _)| !CHANGING.contains(&name.as_str()))
                .map(|(name, value)| (name, self.constant(value)))
                .collect(),
            Value::Array(items) => items.into_iter().map(|it| self.constant(it)).collect(),
            Value::String(text) => text.replace(&self.name, "NAME").into(),
            other => other,
        }
    }
}

/// A request that creates a document, or, with the second key, one that replaces it.
fn creating(request: RequestBuilder, key: u8) -> RequestBuilder {
    match key {
        0 => request,
        _ => request.header("If-Match", "*"),
    }
}

#[test]
fn an_instance_answers_as_if_it_were_alone() {
    let runtime = Runtime::new().expect("a runtime");
    let (shared, alone) = runtime.block_on(async { (Dps::start().await, Dps::start().await) });
    let ca = CertificateAuthority::new("Contoso Root").expect("a CA");
    let config = Config {
        cases: 16,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let number = std::sync::atomic::AtomicUsize::new(0);
    let outcome = runner.run(&operations(), |operations| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        runtime.block_on(async {
            let tested = format!("tested-{number:05}");
            let neighbour = format!("neighbour-{number:05}");
            let one = Side::new(&shared, &tested, &ca).await;
            let two = Side::new(&shared, &neighbour, &ca).await;
            let reference = Side::new(&alone, &tested, &ca).await;
            for (is_tested, operation) in &operations {
                if *is_tested {
                    let seen = one.perform(operation).await;
                    let expected = reference.perform(operation).await;
                    prop_assert_eq!(seen, expected, "{:?}", operation);
                } else {
                    two.perform(operation).await;
                }
            }
            for (dps, name_of) in [(&shared, &tested), (&shared, &neighbour), (&alone, &tested)] {
                let found = dps.emulator.instance(&name(name_of)).await.expect("read");
                let deleted = found.expect("created").delete().await;
                prop_assert!(deleted.expect("deleted"));
            }
            Ok::<_, TestCaseError>(())
        })
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
