//! Compares the state in the database with the answers that the devices and the operator received.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use dps_emulator::store::{PostgresStore, Store, Table};
use dps_emulator::{Emulator, LinkedHub};
use tokio::time::{Instant, sleep};

use super::HUBS;
use super::devices::Device;

/// The time for the operations that were in progress when the last device had its answer.
const REST: Duration = Duration::from_secs(30);
/// The number of entries that are read from the store at once.
const PAGE: usize = 1000;

/// The differences, one sentence each.
pub(super) async fn faults(url: &str, devices: &[Device]) -> Result<Vec<String>, Box<dyn Error>> {
    let store = Arc::new(PostgresStore::connect(&url.parse()?).await?);
    let mut faults = Vec::new();
    let start = Instant::now();
    while store.count(Table::Operations).await? > 0 && start.elapsed() < REST {
        sleep(Duration::from_millis(100)).await;
    }
    let operations = store.count(Table::Operations).await?;
    if operations > 0 {
        faults.push(format!("{operations} operations have not ended"));
    }

    let enrollments = keys(&*store, Table::Individuals).await?;
    let registrations = keys(&*store, Table::Registrations).await?;
    let identities = identities(&store).await?;
    for device in devices {
        let id = device.id.as_str();
        if device.is_individual && !enrollments.contains(id) {
            faults.push(format!(
                "the enrollment of {id} was acknowledged and is missing"
            ));
        }
        let Ok(hub) = &device.outcome else {
            continue;
        };
        if !registrations.contains(id) {
            faults.push(format!(
                "the registration of {id} was acknowledged and is missing"
            ));
        }
        match identities.get(id).map(Vec::as_slice) {
            Some([one]) if one == hub => {}
            found => faults.push(format!("{id} was assigned to {hub}, and is at {found:?}")),
        }
    }
    let expected = devices
        .iter()
        .filter(|device| device.outcome.is_ok())
        .count();
    if identities.len() != expected {
        faults.push(format!(
            "{expected} devices were assigned, and {} exist",
            identities.len()
        ));
    }
    Ok(faults)
}

/// The hubs of each device.
async fn identities(
    store: &Arc<PostgresStore>,
) -> Result<HashMap<String, Vec<String>>, Box<dyn Error>> {
    let mut builder = Emulator::builder().store(Arc::clone(store) as Arc<dyn Store>);
    for hub in HUBS {
        builder = builder.link_hub(hub.parse::<LinkedHub>()?);
    }
    let emulator = builder.start().await?;
    let mut identities: HashMap<String, Vec<String>> = HashMap::new();
    for name in HUBS {
        let hub = emulator.hub(name).ok_or("the hub is not linked")?;
        for device in hub.devices().await? {
            let id = device.device_id().to_string();
            identities
                .entry(id)
                .or_default()
                .push(hub.hostname().to_string());
        }
    }
    emulator.shutdown().await;
    Ok(identities)
}

async fn keys(store: &dyn Store, table: Table) -> Result<HashSet<String>, Box<dyn Error>> {
    let mut keys = HashSet::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.scan(table, after.as_deref(), PAGE).await?;
        let complete = page.len() < PAGE;
        after = page.last().map(|(key, _)| key.clone());
        keys.extend(page.into_iter().map(|(key, _)| key));
        if complete {
            return Ok(keys);
        }
    }
}
