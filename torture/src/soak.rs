//! Devices that send for a long time while their hub is restarted and connections are cut: no accepted message is lost, and memory
//! and open files do not grow.

use std::time::Duration;

use dps_benches::soak::Soak;

use crate::common::Result;
use crate::common::options::Options;
use crate::common::report::Report;

/// The devices of the short and of the long form.
const SHORT: usize = 20;
const LONG: usize = 200;

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let mut report = Report::default();
    let mut soak = Soak::default();
    soak.cut = true;
    soak.interval = Duration::from_secs(2);
    soak.devices = LONG;
    soak.duration = Duration::from_secs(60 * options.minutes());
    if !options.is_long() {
        soak.devices = SHORT;
        soak.duration = Duration::from_secs(8);
        soak.interval = Duration::from_millis(100);
        soak.token_lifetime = Duration::from_secs(2);
        soak.restarts = 1;
        soak.cut_kib = 24;
    }
    let run = soak.run().await.map_err(|error| error.to_string())?;
    report.check(run.is_complete(), || "an accepted message was lost".into());
    for (name, memory, files) in [
        ("devices", &run.device_memory, &run.device_files),
        ("hub", &run.hub_memory, &run.hub_files),
    ] {
        // The short form ends before the memory has its final size.
        let is_flat = memory.is_flat() && files.is_flat();
        report.check(is_flat || !options.is_long(), || {
            format!("{name}: memory or open files grow: {memory}; {files}")
        });
        report.figure(format!("{name}: memory"), memory);
        report.figure(format!("{name}: open files"), files);
    }
    report.figure("devices", soak.devices);
    report.figure("seconds", soak.duration.as_secs());
    report.figure(
        "messages accepted, of those enqueued",
        format!("{} of {}", run.accepted, run.enqueued),
    );
    report.figure("messages lost", run.lost);
    report.figure(
        "messages received twice, which QoS 1 allows",
        run.duplicates,
    );
    report.figure("connections cut", run.cuts);
    report.figure("restarts of the hub", soak.restarts);
    Ok(report)
}
