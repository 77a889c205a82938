//! The paths and documents of the control plane, for the targets of `fuzz/`.

use dps_types::enrollment::AllocationPolicyKind;
use dps_types::protocol::encode;

use super::description::{Description, keys, resource};
use super::path::{Part, Path, Target, resource_id};
use crate::endpoint::call::document;
use crate::instances::{Record, Resource};
use crate::state;

/// Reads a path. Returns the path of the same target as the swagger spells it.
pub fn control_plane_path(path: &str) -> Option<String> {
    let Path {
        subscription,
        target,
    } = Path::parse(path).ok()?;
    let subscription = encode(&subscription).to_string();
    Some(match target {
        Target::NameAvailability => format!(
            "/subscriptions/{subscription}/providers/Microsoft.Devices/checkProvisioningServiceNameAvailability"
        ),
        Target::Subscription => format!(
            "/subscriptions/{subscription}/providers/Microsoft.Devices/provisioningServices"
        ),
        Target::Group(group) => {
            let below = resource_id(&subscription, &encode(&group).to_string(), "");
            below.trim_end_matches('/').to_owned()
        }
        Target::Instance { group, name, part } => {
            let [group, name] = [group, name].map(|it| encode(&it).to_string());
            let id = resource_id(&subscription, &group, &name);
            match part {
                Part::Whole => id,
                Part::Skus => id + "/skus",
                Part::Keys => id + "/listkeys",
                Part::Key(key) => format!("{id}/keys/{}/listkeys", encode(&key)),
                Part::OperationResult => id + "/operationresults/1",
                Part::Certificates => id + "/certificates",
                Part::Certificate(name) => format!("{id}/certificates/{}", encode(&name)),
                Part::GenerateCode(name) => {
                    format!(
                        "{id}/certificates/{}/generateVerificationCode",
                        encode(&name)
                    )
                }
                Part::Verify(name) => format!("{id}/certificates/{}/verify", encode(&name)),
            }
        }
    })
}

/// Reads the body of a request that creates an instance. If it is accepted, checks that the record can be stored, and that
/// a client that writes back what it reads changes nothing.
pub fn put_instance(body: &[u8]) {
    let read = |body: &[u8]| document::<Description>(body).ok();
    let Some(record) = read(body).and_then(|it| it.into_record(empty()).ok()) else {
        return;
    };
    let stored = state::encode(&record).expect("a record that is accepted can be stored");
    assert!(state::decode::<Record>(&stored).is_ok_and(|it| it == record));
    for policy in &record.policies {
        let _ = keys(policy);
    }
    let write_back = |record: &Record| {
        let shown = resource(record).to_string();
        let read = read(shown.as_bytes()).expect("an answer can be sent back");
        read.into_record(record.clone())
            .expect("what was read is accepted")
    };
    let kept = write_back(&record);
    assert_eq!(kept.policies, record.policies);
    assert_eq!(kept.hubs, record.hubs);
    assert_eq!(kept.resource.tags, record.resource.tags);
    assert_eq!(kept.allocation_policy, record.allocation_policy);
    assert_eq!(write_back(&kept), kept);
}

fn empty() -> Record {
    Record {
        name: "fuzz-1".parse().expect("a name"),
        id_scope: "0ne00000001".parse().expect("an id scope"),
        resource: Resource::default(),
        policies: Vec::new(),
        hubs: Vec::new(),
        allocation_policy: AllocationPolicyKind::Hashed,
        local_auth_disabled: false,
        etag: "etag".parse().expect("an ETag"),
        is_deleted: false,
    }
}
