//! Disks that are full or read-only, and damaged files: of the emulator's data directory, and of a device's stores.
//!
//! Either everything is intact, or there is a clear error and the file is left as it is.

mod device_files;
mod emulator_files;
mod full_disk;
mod kinds;

use crate::common::Result;
use crate::common::options::Options;
use crate::common::report::Report;

/// The rounds of the short form. Each has other random places.
const SHORT_ROUNDS: usize = 1;

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let options = options.started(1);
    let mut report = Report::default();
    report.part("full disk", Box::pin(full_disk::run()).await?);
    report.figure("kinds of damage", kinds::KINDS.len());
    let mut random = options.random();
    let template = emulator_files::Template::create().await?;
    let (mut rounds, mut emulator, mut device) = (
        0,
        emulator_files::Counts::default(),
        device_files::Counts::default(),
    );
    while options.goes_on(rounds, SHORT_ROUNDS) {
        Box::pin(template.damage(&mut random, &mut emulator, &mut report)).await?;
        device_files::damage(&mut random, &mut device, &mut report).await?;
        device_files::change_every_byte(&mut random, &mut device, &mut report).await?;
        rounds += 1;
    }
    report.figure("rounds", rounds);
    report.figure("emulator: damaged files", emulator.damaged);
    report.figure("emulator: started with everything intact", emulator.intact);
    report.figure(
        "emulator: refused, and the file left as it was",
        emulator.refused,
    );
    report.figure("device: damaged files", device.damaged);
    report.figure("device: read with everything intact", device.intact);
    report.figure("device: reported or read as missing", device.missing);
    report.figure("device: documents with one changed byte", device.bytes);
    Ok(report)
}
