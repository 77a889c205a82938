//! Kills under load: service clients, devices and back ends write to an emulator that is killed or stopped, and after each start
//! everything that was acknowledged must be there, and nothing that was refused.

mod check;
mod enrollments;
mod hubs;
mod registrations;

use std::path::Path;
use std::time::Duration;

use dps_benches::postgres::Postgres;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::common::Result;
use crate::common::emulator::Emulator;
use crate::common::fleet::Fleet;
use crate::common::hub_client::HubClient;
use crate::common::options::Options;
use crate::common::random::Random;
use crate::common::record::Record;
use crate::common::report::Report;

/// The rounds of a store in the short form.
const SHORT_ROUNDS: usize = 3;
/// The tasks that write enrollments, and those that register devices.
const OPERATORS: u64 = 6;
const DEVICES: u64 = 3;
/// The fewest acknowledged writes of a round, and the time that they may take.
const LEAST_WRITES: u64 = 60;
const LONGEST_ROUND: Duration = Duration::from_secs(120);

/// The clients and the record that every writer of a round uses.
struct Load {
    service: dps_service::ServiceClient,
    fleet: Fleet,
    hub: HubClient,
    ports: [(dps_benches::TransportKind, u16); 5],
    record: Record,
    /// The number of the round, so that names differ.
    round: usize,
}

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let mut report = Report::default();
    let mut random = options.random();
    let half = options.started(2);
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let data = data.to_string_lossy();
    let part = Box::pin(store(
        &half,
        random.split(),
        dir.path(),
        &["--data-dir", &data],
        None,
    ))
    .await;
    report.part_or_fault("redb", part);

    let half = options.started(2);
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let data = data.to_string_lossy();
    let mut database = Postgres::start().await.map_err(|error| error.to_string())?;
    let url = database.url().to_owned();
    let arguments = ["--data-dir", &data, "--store", &url, "--replica-timeout=2"];
    let part = Box::pin(store(
        &half,
        random.split(),
        dir.path(),
        &arguments,
        Some(&mut database),
    ))
    .await;
    report.part_or_fault("PostgreSQL", part);
    Ok(report)
}

/// The rounds over one store.
async fn store(
    options: &Options,
    mut random: Random,
    dir: &Path,
    arguments: &[&str],
    mut database: Option<&mut Postgres>,
) -> Result<Report> {
    let mut report = Report::default();
    let mut emulator = Emulator::start(arguments, &dir.join("log")).await?;
    let fleet = Fleet::enroll(&emulator).await?;
    hubs::prepare(&emulator, &fleet).await?;
    let mut record = Record::create(&dir.join("record"))?;
    let (mut rounds, mut kills, mut stops, mut restarts) = (0, 0, 0, 0);
    while options.goes_on(rounds, SHORT_ROUNDS) {
        let load = Load {
            service: emulator.service()?.with_timeout(Duration::from_secs(5)),
            fleet: fleet.clone(),
            hub: HubClient::new(&emulator)?,
            ports: dps_benches::TransportKind::ALL.map(|kind| (kind, emulator.port(kind))),
            record,
            round: rounds,
        };
        let load = std::sync::Arc::new(load);
        let mut writers = JoinSet::new();
        for number in 0..OPERATORS {
            writers.spawn(enrollments::write(load.clone(), random.split(), number));
        }
        for number in 0..DEVICES {
            writers.spawn(registrations::write(load.clone(), random.split(), number));
        }
        writers.spawn(hubs::write_twins(load.clone()));
        writers.spawn(hubs::send_messages(load.clone()));
        let enough = load.record.acknowledged() + LEAST_WRITES + random.below(LEAST_WRITES);
        let written = async {
            while load.record.acknowledged() < enough {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(LONGEST_ROUND, written).await.is_err() {
            report.fault(format!("round {rounds}: fewer than {enough} writes were acknowledged within {LONGEST_ROUND:?}"));
        }
        sleep(Duration::from_millis(random.below(300))).await;
        // Every third end is orderly.
        if rounds % 3 == 1 {
            let status = emulator.terminate().await?;
            report.check(status.success(), || {
                format!("SIGTERM in round {rounds}: {status}")
            });
            stops += 1;
        } else {
            emulator.kill().await?;
            kills += 1;
        }
        // The writers that are left do not reach an emulator.
        sleep(Duration::from_millis(50)).await;
        writers.shutdown().await;
        let Some(load) = std::sync::Arc::into_inner(load) else {
            return Err("a writer has not ended".into());
        };
        record = load.record;
        if let Some(database) = database.as_mut().filter(|_| rounds % 4 == 2) {
            database
                .restart()
                .await
                .map_err(|error| error.to_string())?;
            restarts += 1;
        }
        emulator.restart().await?;
        check::round(&emulator, &fleet, &record, rounds, &mut random, &mut report).await?;
        rounds += 1;
    }
    check::all(&emulator, &record, &mut report).await?;
    let ledger = record.read()?;
    report.figure("rounds", rounds);
    report.figure("kills with SIGKILL", kills);
    report.figure("stops with SIGTERM", stops);
    report.figure("restarts of the database", restarts);
    report.figure("writes acknowledged", ledger.acknowledged);
    report.figure("writes refused", ledger.refused);
    report.figure("keys compared", ledger.keys.len());
    report.check(ledger.refused > 0, || {
        "the run was too short: no write was refused".into()
    });
    for prefix in [
        enrollments::PREFIX,
        registrations::PREFIX,
        hubs::TWIN,
        hubs::MESSAGE,
    ] {
        let mut own = ledger
            .keys
            .iter()
            .filter(|(key, _)| key.starts_with(prefix));
        report.check(own.any(|(_, expected)| expected.is_acknowledged), || {
            format!("no write of {prefix} was acknowledged")
        });
    }
    Ok(report)
}
