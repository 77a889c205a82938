//! Compares what the emulator has after a start with the record of the clients.

use std::collections::HashSet;
use std::time::Duration;

use dps_benches::TransportKind;
use dps_device::{ConnectOptions, DeviceEvent, Host, Mqtt};
use dps_service::{ErrorKind, ServiceClient};
use dps_types::enrollment::IndividualEnrollment;
use dps_types::{ETag, QuerySpecification, RegistrationId};
use tokio::time::timeout;

use super::{enrollments, hubs, registrations};
use crate::common::Result;
use crate::common::emulator::Emulator;
use crate::common::fleet::Fleet;
use crate::common::hub_client::HubClient;
use crate::common::random::Random;
use crate::common::record::{ABSENT, Expected, Record};
use crate::common::report::Report;

/// The enrollments of a round whose ETags are tested.
const ETAGS: usize = 5;
/// The longest time for the messages of one device.
const MESSAGES: Duration = Duration::from_secs(120);
/// The message that ends a queue.
const LAST: &str = "last";
/// The version of a message that is no longer in the queue.
const RECEIVED: &str = "received";

/// Compares all keys that the round has written.
pub(super) async fn round(
    emulator: &Emulator,
    fleet: &Fleet,
    record: &Record,
    round: usize,
    random: &mut Random,
    report: &mut Report,
) -> Result<()> {
    let ledger = record.read()?;
    let service = emulator.service()?;
    let hub = HubClient::new(emulator)?;
    let own = |key: &str, prefix: &str, mark: &str| {
        let name = key.strip_prefix(prefix)?;
        name.starts_with(mark).then(|| name.to_owned())
    };
    let mut alive = Vec::new();
    for (key, expected) in &ledger.keys {
        if let Some(name) = own(key, enrollments::PREFIX, &format!("e-{round}-")) {
            let (value, version) = enrollment(&service, &name.parse()?).await?;
            compare(report, key, expected, &value, &version);
            record.settle(key, &value, &version)?;
            if value != ABSENT {
                alive.push((name, expected.clone()));
            }
        } else if let Some(name) = own(key, registrations::PREFIX, &format!("d-{round}-")) {
            let value = registration(&service, &name.parse()?).await?;
            // A registration in progress is finished after the start, at any time.
            if expected.in_doubt.is_empty() {
                compare(report, key, expected, &value, "");
                let (status, _) = hub.send("GET", &format!("/devices/{name}"), None).await?;
                report.check(status == 200, || {
                    format!("{name} was assigned, and the hub answers {status}")
                });
            }
        } else if let Some(name) = own(key, hubs::TWIN, "") {
            let (_, twin) = hub.send("GET", &format!("/twins/{name}"), None).await?;
            let value = twin["tags"]["value"].as_str().unwrap_or(ABSENT).to_owned();
            let version = twin["version"].to_string();
            compare(report, key, expected, &value, &version);
            record.settle(key, &value, &version)?;
        }
    }
    messages(emulator, fleet, &hub, record, report).await?;
    for _ in 0..ETAGS.min(alive.len()) {
        let (name, expected) = alive.swap_remove(random.below(alive.len() as u64) as usize);
        etags_move_on(&service, &name.parse()?, &expected, record, report).await?;
    }
    Ok(())
}

/// Compares the enrollments of all rounds with a list of the service.
pub(super) async fn all(emulator: &Emulator, record: &Record, report: &mut Report) -> Result<()> {
    let ledger = record.read()?;
    let service = emulator.service()?;
    let query = QuerySpecification::new("SELECT * FROM enrollments");
    let mut listed = service.individual_enrollments().query(query);
    let mut found = HashSet::new();
    while let Some(enrollment) = listed.try_next().await? {
        let key = enrollments::key(&enrollment.registration_id);
        match ledger.keys.get(&key) {
            None => report.fault(format!("{key} was never written, and is in the list")),
            Some(expected) => {
                let (value, version) = value_of(&enrollment);
                compare(report, &key, expected, &value, &version);
            }
        }
        found.insert(key);
    }
    for (key, expected) in &ledger.keys {
        let is_enrollment = key.starts_with(enrollments::PREFIX);
        if is_enrollment && expected.value != ABSENT && !found.contains(key) {
            report.fault(format!("{key} was acknowledged, and is not in the list"));
        }
    }
    Ok(())
}

fn compare(report: &mut Report, key: &str, expected: &Expected, value: &str, version: &str) {
    if let Err(difference) = expected.compare(value, version) {
        report.fault(format!("{key}: {difference}"));
    }
}

/// The value and the ETag of an enrollment.
async fn enrollment(service: &ServiceClient, id: &RegistrationId) -> Result<(String, String)> {
    match service.individual_enrollments().get(id).await {
        Ok(found) => Ok(value_of(&found)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok((ABSENT.to_owned(), String::new())),
        Err(error) => Err(error.into()),
    }
}

fn value_of(enrollment: &IndividualEnrollment) -> (String, String) {
    let value = enrollment.device_id.as_ref().map(ToString::to_string);
    let version = enrollment
        .etag
        .as_ref()
        .map(|etag| etag.as_str().to_owned());
    (
        value.unwrap_or_else(|| ABSENT.to_owned()),
        version.unwrap_or_default(),
    )
}

/// The hub of a registration.
async fn registration(service: &ServiceClient, id: &RegistrationId) -> Result<String> {
    match service.registrations().get(id).await {
        Ok(found) => Ok(found
            .assigned_hub
            .map_or(ABSENT.to_owned(), |hub| hub.to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(ABSENT.to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// The ETag of the record is still valid, an update returns one that was never used, and the older one is then refused.
async fn etags_move_on(
    service: &ServiceClient,
    id: &RegistrationId,
    expected: &Expected,
    record: &Record,
    report: &mut Report,
) -> Result<()> {
    let enrollments = service.individual_enrollments();
    let mut document = enrollments.get(id).await?;
    let before = document.etag.clone().ok_or("the enrollment has no ETag")?;
    let (key, value) = (enrollments::key(id), "value-etag");
    document.device_id = Some(value.parse()?);
    record.attempt(&key, value)?;
    let after = enrollments.update(&document).await?.etag;
    let after = after.ok_or("the answer has no ETag")?;
    record.acknowledge(&key, value, after.as_str())?;
    let is_known = |etag: &ETag| expected.versions.iter().any(|known| known == etag.as_str());
    report.check(!is_known(&after) && after != before, || {
        format!("{key}: the ETag {} was used before", after.as_str())
    });
    match enrollments.update(&document).await {
        Err(error) if error.kind() == ErrorKind::PreconditionFailed => Ok(()),
        other => {
            report.fault(format!("{key}: an update with an older ETag: {other:?}"));
            Ok(())
        }
    }
}

/// Every message that was queued arrives at its device, and no other.
async fn messages(
    emulator: &Emulator,
    fleet: &Fleet,
    hub: &HubClient,
    record: &Record,
    report: &mut Report,
) -> Result<()> {
    let ledger = record.read()?;
    for name in hubs::NAMES {
        let status = hub.message(name, LAST.to_owned()).await?;
        report.check((200..300).contains(&status), || {
            format!("the last message for {name}: {status}")
        });
        let received = timeout(MESSAGES, receive(emulator, fleet, name)).await;
        let received = received.map_err(|_| format!("the messages of {name} do not arrive"))??;
        let prefix = format!("{}{name}/", hubs::MESSAGE);
        for (key, expected) in &ledger.keys {
            let Some(body) = key.strip_prefix(&prefix) else {
                continue;
            };
            if expected.version == RECEIVED {
                // It is of an earlier round.
                continue;
            }
            let was_received = received.contains(body);
            if expected.value == hubs::QUEUED && expected.version.is_empty() && !was_received {
                report.fault(format!("{key} was acknowledged, and did not arrive"));
            }
            // Received messages are no longer in the queue.
            record.settle(key, ABSENT, RECEIVED)?;
        }
        for body in &received {
            report.check(ledger.keys.contains_key(&format!("{prefix}{body}")), || {
                format!("{name} received '{body}', which was never sent")
            });
        }
    }
    Ok(())
}

/// Receives the messages of a device up to the last one.
async fn receive(emulator: &Emulator, fleet: &Fleet, name: &str) -> Result<HashSet<String>> {
    let client = fleet.client(name, TransportKind::Http, emulator.https_port())?;
    let hub = crate::common::emulator::HUB.parse()?;
    let endpoint = client
        .hub_at(hub, name.parse()?)
        .with_host(Host::LOCALHOST)
        .with_transport(Mqtt::default().with_port(emulator.port(TransportKind::Mqtt)));
    let options = ConnectOptions::new()
        .without_twin_events()
        .without_methods();
    let (handle, mut events) = endpoint.connect_with(options);
    let mut received = HashSet::new();
    while let Some(event) = events.next().await {
        if let DeviceEvent::Message(message) = event {
            let body = String::from_utf8_lossy(message.payload()).into_owned();
            drop(message);
            if body == LAST {
                break;
            }
            received.insert(body);
        }
    }
    let closing = handle.close(Duration::from_secs(30));
    events.drive(closing).await;
    Ok(received)
}
