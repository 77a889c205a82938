//! Every cell of the documented matrix: the device's current hub, its reprovisioning policy and its allocation policy.

use std::fmt;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::common::{Device, Dps, Hook, KEY_1, derive, key_enrollment, key_group, with};
use crate::common::{latency, linked};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coming {
    First,
    Again,
    Elsewhere,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Policy {
    Migrate,
    Reset,
    Never,
    Unset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pick {
    Hashed,
    Latency,
    Static,
    Custom,
    CustomWithTwin,
}

#[derive(Clone, Copy)]
struct Cell {
    number: usize,
    coming: Coming,
    policy: Policy,
    pick: Pick,
    group: bool,
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (coming, policy, pick) = (self.coming, self.policy, self.pick);
        let kind = if self.group { "group" } else { "individual" };
        write!(f, "{coming:?} {policy:?} {pick:?} {kind}")
    }
}

fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for coming in [Coming::First, Coming::Again, Coming::Elsewhere] {
        for policy in [Policy::Migrate, Policy::Reset, Policy::Never, Policy::Unset] {
            for pick in [
                Pick::Hashed,
                Pick::Latency,
                Pick::Static,
                Pick::Custom,
                Pick::CustomWithTwin,
            ] {
                for group in [false, true] {
                    cells.push(Cell {
                        number: cells.len(),
                        coming,
                        policy,
                        pick,
                        group,
                    });
                }
            }
        }
    }
    cells
}

/// Returns the documented result: hub, substatus, and whether the changed twin is kept.
fn expected(cell: Cell) -> (&'static str, &'static str, bool) {
    match (cell.coming, cell.policy) {
        (Coming::First, _) => ("hub-a", "initialAssignment", false),
        (Coming::Again, _) | (Coming::Elsewhere, Policy::Never) => {
            ("hub-a", "reprovisionedToInitialAssignment", true)
        }
        (Coming::Elsewhere, Policy::Migrate | Policy::Unset) => {
            ("hub-b", "deviceDataMigrated", true)
        }
        (Coming::Elsewhere, Policy::Reset) => ("hub-b", "deviceDataReset", false),
    }
}

#[tokio::test]
async fn every_cell_is_as_documented() {
    let dps = Dps::start_with(|builder| {
        let builder = builder.link_hub(linked("hub-a")).link_hub(linked("hub-b"));
        builder
            .latencies([latency("emea/hub-a=10")])
            .latencies([latency("emea/hub-b=90")])
            .latencies([latency("us/hub-a=90")])
            .latencies([latency("us/hub-b=10")])
    })
    .await;
    let cells = cells();
    assert_eq!(cells.len(), 120);
    for cell in cells {
        Run::start(&dps, cell).await.play().await;
    }
}

/// The state of one cell's test.
struct Run<'a> {
    dps: &'a Dps,
    cell: Cell,
    registration_id: String,
    device_id: String,
    device: Device,
    hook: Option<Hook>,
    choice: Arc<Mutex<&'static str>>,
}

impl<'a> Run<'a> {
    async fn start(dps: &'a Dps, cell: Cell) -> Self {
        let registration_id = format!("dev-{}", cell.number);
        let device_id = match cell.group {
            true => registration_id.clone(),
            false => format!("Toaster-{}", cell.number),
        };
        let key = derive(KEY_1, &registration_id);
        let device_key = match cell.group {
            true => derive(&key, &registration_id),
            false => key,
        };
        let choice = Arc::new(Mutex::new("hub-a"));
        let hook = match cell.pick {
            Pick::Custom | Pick::CustomWithTwin => Some(hook(cell.pick, Arc::clone(&choice)).await),
            _ => None,
        };
        let device = dps.device(&registration_id).key(&device_key);
        let run = Self {
            dps,
            cell,
            registration_id,
            device_id,
            device,
            hook,
            choice,
        };
        run.enroll("hub-a", false).await;
        run
    }

    async fn play(&self) {
        let cell = self.cell;
        let (hub, substatus, is_changed) = expected(cell);
        let mut state = self.register("hub-a").await;
        if cell.coming != Coming::First {
            assert_eq!(state["substatus"], "initialAssignment", "{cell:?}");
            let patch =
                json!({ "tags": { "changed": 1 }, "properties": { "desired": { "changed": 2 } } });
            let hub_a = self.dps.hub("hub-a");
            let patched = hub_a.update_twin(&self.device_id, patch).await;
            patched.expect("patched");
            let next = match cell.coming {
                Coming::Elsewhere => "hub-b",
                _ => "hub-a",
            };
            self.enroll(next, true).await;
            state = self.register(next).await;
        }
        assert_eq!(state["assignedHub"], hub, "{cell:?}");
        assert_eq!(state["substatus"], substatus, "{cell:?}");
        assert_eq!(state["deviceId"], self.device_id, "{cell:?}");
        let said = self.hook.as_ref().map(|_| json!({ "hello": "device" }));
        assert_eq!(state.get("payload"), said.as_ref(), "{cell:?}");

        let origin = match cell.pick {
            Pick::CustomWithTwin => "webhook",
            _ => "enrollment",
        };
        self.expect_twin(hub, origin, is_changed).await;
        let other = if hub == "hub-a" { "hub-b" } else { "hub-a" };
        assert!(
            self.dps
                .hub(other)
                .device(&self.device_id)
                .await
                .expect("read")
                .is_none(),
            "{cell:?}: the device is in {other} too"
        );
        self.expect_webhook().await;
    }

    /// The enrollment that assigns the device to this hub.
    async fn enroll(&self, hub: &'static str, again: bool) {
        let key = derive(KEY_1, &self.registration_id);
        let (path, document) = match self.cell.group {
            true => (
                format!("/enrollmentGroups/g{}", self.cell.number),
                key_group(&format!("g{}", self.cell.number), &key, KEY_1),
            ),
            false => (
                format!("/enrollments/{}", self.registration_id),
                with(
                    key_enrollment(&self.registration_id, &key, KEY_1),
                    json!({ "deviceId": self.device_id }),
                ),
            ),
        };
        let document = with(with(document, self.terms(hub)), twin("enrollment"));
        match again {
            false => drop(self.dps.create(&path, &document).await),
            true => assert_eq!(self.dps.put_if(&path, "*", &document).await.status, 200),
        }
        *self.choice.lock().expect("not poisoned") = hub;
    }

    fn terms(&self, hub: &str) -> Value {
        let allocation = match self.cell.pick {
            Pick::Hashed => json!({ "allocationPolicy": "hashed", "iotHubs": [hub] }),
            Pick::Latency => json!({ "allocationPolicy": "geoLatency" }),
            Pick::Static => json!({ "allocationPolicy": "static", "iotHubs": [hub] }),
            Pick::Custom | Pick::CustomWithTwin => json!({
                "allocationPolicy": "custom",
                "customAllocationDefinition": {
                    "webhookUrl": self.hook.as_ref().expect("a webhook").url,
                    "apiVersion": "2021-10-01",
                },
            }),
        };
        let reprovision = |update: bool, migrate: bool| json!({ "reprovisionPolicy": { "updateHubAssignment": update, "migrateDeviceData": migrate } });
        match self.cell.policy {
            Policy::Migrate => with(allocation, reprovision(true, true)),
            Policy::Reset => with(allocation, reprovision(true, false)),
            Policy::Never => with(allocation, reprovision(false, false)),
            Policy::Unset => allocation,
        }
    }

    /// Registers from the region that is near this hub.
    async fn register(&self, near: &str) -> Value {
        let region = if near == "hub-a" { "emea" } else { "us" };
        let body =
            json!({ "registrationId": self.registration_id, "payload": { "region": region } });
        let mut document = self.device.provision_with(body).await;
        assert_eq!(
            document["status"], "assigned",
            "{:?}: {document}",
            self.cell
        );
        document["registrationState"].take()
    }

    async fn expect_twin(&self, hub: &str, origin: &str, is_changed: bool) {
        let device = self
            .dps
            .hub(hub)
            .device(&self.device_id)
            .await
            .expect("read");
        let device = device.unwrap_or_else(|| panic!("{:?}: not in {hub}", self.cell));
        let (mut tags, mut desired) = (json!({ "from": origin }), json!({ "from": origin }));
        if is_changed {
            tags["changed"] = json!(1);
            desired["changed"] = json!(2);
        }
        assert_eq!(json!(device.tags()), tags, "{:?}", self.cell);
        assert_eq!(json!(device.desired()), desired, "{:?}", self.cell);
        let version = if is_changed { 2 } else { 1 };
        assert_eq!(device.desired_version(), version, "{:?}", self.cell);
    }

    /// The webhook was asked at each registration, the last time with this.
    async fn expect_webhook(&self) {
        let cell = self.cell;
        let Some(hook) = &self.hook else { return };
        let times = if cell.coming == Coming::First { 1 } else { 2 };
        let asked = hook.asked(times).await;
        assert_eq!(asked.len(), times, "{cell:?}");
        let request = &asked[times - 1].body;
        let region = if cell.coming == Coming::Elsewhere {
            "us"
        } else {
            "emea"
        };
        let mut context = json!({
            "registrationId": self.registration_id,
            "symmetricKey": {},
            "payload": { "region": region },
        });
        let mut hubs = json!(["hub-a", "hub-b"]);
        if times == 2 {
            context["currentIotHubHostName"] = json!("hub-a");
            context["currentDeviceId"] = json!(self.device_id);
            if cell.policy == Policy::Never {
                hubs = json!(["hub-a"]);
            }
        }
        assert_eq!(request["deviceRuntimeContext"], context, "{cell:?}");
        assert_eq!(request["linkedHubs"], hubs, "{cell:?}");
        let (kind, other) = match cell.group {
            true => ("enrollmentGroup", "individualEnrollment"),
            false => ("individualEnrollment", "enrollmentGroup"),
        };
        assert!(request[kind].is_object(), "{cell:?}");
        assert_eq!(request.get(other), None, "{cell:?}");
    }
}

/// A webhook that answers with the choice, or with the only hub that is left.
async fn hook(pick: Pick, choice: Arc<Mutex<&'static str>>) -> Hook {
    Hook::start(move |request| {
        let choice = *choice.lock().expect("not poisoned");
        let hubs = request["linkedHubs"].as_array().expect("hubs");
        let hub = hubs.iter().find(|hub| **hub == choice).unwrap_or(&hubs[0]);
        let answer = json!({ "iotHubHostName": hub, "payload": { "hello": "device" } });
        let answer = match pick {
            Pick::CustomWithTwin => with(answer, twin("webhook")),
            _ => answer,
        };
        Some((200, answer.to_string()))
    })
    .await
}

fn twin(from: &str) -> Value {
    let from = json!({ "from": from });
    json!({ "initialTwin": { "tags": from, "properties": { "desired": from } } })
}
