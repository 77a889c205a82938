//! A disk that becomes full, read-only and writable again, below the emulator and below a device's stores.
//!
//! The disk is a tmpfs, whose mount requires root. Without it, this part is left out.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use dps_device::certificate::{CredentialFile, CredentialStore};
use dps_device::{AssignmentFile, AssignmentStore, FileQueue, MessageQueue};
use dps_service::ServiceClient;
use dps_types::QuerySpecification;
use dps_types::enrollment::{IndividualEnrollment, TwinCollection};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::device_files::{assignment, credential};
use crate::common::Result;
use crate::common::emulator::Emulator;
use crate::common::report::Report;

/// The most enrollments that fit on the disk.
const MOST: usize = 3000;
/// The system's messages in the emulator's log and errors. Source: strerror(3) for ENOSPC and EROFS.
const NO_SPACE: &str = "No space left on device";
const READ_ONLY: &str = "Read-only file system";
/// The message of an emulator whose store fails.
const STORE_FAILED: &str = "The store failed";
/// The time in which writes succeed again.
const RECOVERY: Duration = Duration::from_secs(120);

/// A small file system. Dropping it unmounts it.
struct Disk {
    mount: PathBuf,
    _dir: TempDir,
}

impl Disk {
    /// `None` if this user may not mount.
    fn mount(size: &str) -> Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let mount = dir.path().join("disk");
        fs::create_dir(&mount)?;
        let option = format!("size={size}");
        let arguments = ["-t", "tmpfs", "-o", &option, "tmpfs"];
        let mounted = Command::new("mount")
            .args(arguments)
            .arg(&mount)
            .stderr(Stdio::null())
            .status();
        match mounted {
            Ok(status) if status.success() => Ok(Some(Self { mount, _dir: dir })),
            _ => Ok(None),
        }
    }

    fn remount(&self, options: &str) -> Result<()> {
        let options = format!("remount,{options}");
        let status = Command::new("mount")
            .args(["-o", &options])
            .arg(&self.mount)
            .status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("mount -o {options}: {status}").into()),
        }
    }

    fn path(&self) -> &Path {
        &self.mount
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}

pub(super) async fn run() -> Result<Report> {
    let mut report = Report::default();
    let Some(disk) = Disk::mount("2m")? else {
        report.figure("left out", "this user may not mount a file system");
        return Ok(report);
    };
    emulator(&disk, &mut report).await?;
    drop(disk);
    if let Some(disk) = Disk::mount("1m")? {
        device(&disk, &mut report).await?;
    }
    Ok(report)
}

async fn emulator(disk: &Disk, report: &mut Report) -> Result<()> {
    let logs = tempfile::tempdir()?;
    let log = logs.path().join("log");
    let data = disk.path().join("data");
    let arguments = ["--data-dir", &data.to_string_lossy()];
    let mut emulator = Emulator::start(&arguments, &log).await?;
    let mut writer = Writer {
        service: emulator.service()?,
        written: 0,
        next: 0,
    };
    let is_full = writer.fill().await?;
    let before = writer.written;
    report.figure("enrollments written until the disk was full", before);
    report.check(is_full, || "the disk never became full".into());
    let logged = fs::read_to_string(&log)?;
    report.check(logged.contains(NO_SPACE), || {
        format!("the emulator's log does not have '{NO_SPACE}': {logged}")
    });
    report.check(writer.found().await? >= before, || {
        "an enrollment cannot be read while the disk is full".into()
    });
    emulator.kill().await?;
    emulator.restart().await?;
    writer.service = emulator.service()?;
    report.check(writer.found().await? >= before, || {
        "an enrollment is missing after a kill with a full disk".into()
    });

    disk.remount("size=64m")?;
    report.check(writer.recovers().await?, || {
        format!("writes fail {RECOVERY:?} after the disk has space again")
    });

    let written = writer.written;
    emulator.kill().await?;
    disk.remount("ro")?;
    let refused = emulator
        .restart()
        .await
        .err()
        .map(|error| error.to_string());
    report.check(
        refused
            .as_ref()
            .is_some_and(|text| text.contains("dps.redb") && text.contains(READ_ONLY)),
        || format!("the start on a read-only disk: {refused:?}"),
    );
    let other = disk.path().join("other");
    let refused = Emulator::start(&["--data-dir", &other.to_string_lossy()], &log).await;
    let refused = refused.err().map(|error| error.to_string());
    report.check(
        refused
            .as_ref()
            .is_some_and(|text| text.contains("disk/other") && text.contains(READ_ONLY)),
        || format!("the first start on a read-only disk: {refused:?}"),
    );
    disk.remount("rw")?;
    emulator.restart().await?;
    writer.service = emulator.service()?;
    report.check(writer.found().await? >= written, || {
        "an enrollment is missing after the disk was read-only".into()
    });
    report.check(writer.recovers().await?, || {
        "writes fail after the disk is writable again".into()
    });
    emulator.kill().await?;
    report.figure("enrollments written in the end", written);
    Ok(())
}

/// An operator who creates large enrollments.
struct Writer {
    service: ServiceClient,
    /// The enrollments that were acknowledged.
    written: usize,
    next: usize,
}

/// The outcome of a write. Every other failure is an error of the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Done,
    StoreFailed,
    /// There was no answer in time: the machine may have other work.
    Late,
}

impl Writer {
    async fn write(&mut self) -> Result<Write> {
        let id = format!("device-{}", self.next).parse()?;
        self.next += 1;
        let mut enrollment = IndividualEnrollment::symmetric_key(id);
        let notes: TwinCollection = serde_json::from_value(json!({ "notes": "x".repeat(3000) }))?;
        enrollment.optional_device_information = Some(notes);
        // The client retries failures of the service for a while.
        let service = self.service.clone().with_timeout(Duration::from_secs(5));
        match service.individual_enrollments().create(&enrollment).await {
            Ok(_) => {
                self.written += 1;
                Ok(Write::Done)
            }
            Err(error) if format!("{error:#}").contains(STORE_FAILED) => Ok(Write::StoreFailed),
            Err(error) if error.kind() == dps_service::ErrorKind::Deadline => Ok(Write::Late),
            Err(error) => Err(format!("a write on the disk: {error:#}").into()),
        }
    }

    /// Writes until the store fails. Returns false if it never does.
    async fn fill(&mut self) -> Result<bool> {
        while self.next < MOST {
            if self.write().await? == Write::StoreFailed {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes until a write succeeds.
    async fn recovers(&mut self) -> Result<bool> {
        let writing = async {
            while self.write().await? != Write::Done {
                sleep(Duration::from_millis(200)).await;
            }
            Ok(true)
        };
        timeout(RECOVERY, writing).await.unwrap_or(Ok(false))
    }

    /// The number of enrollments that the service lists.
    async fn found(&self) -> Result<usize> {
        let query = QuerySpecification::new("SELECT * FROM enrollments");
        let mut listed = self.service.individual_enrollments().query(query);
        let mut found = 0;
        while listed.try_next().await?.is_some() {
            found += 1;
        }
        Ok(found)
    }
}

/// The stores of a device: a write that fails leaves what was there before.
async fn device(disk: &Disk, report: &mut Report) -> Result<()> {
    let assignments = AssignmentFile::new(disk.path().join("assignment.json"));
    let credentials = CredentialFile::new(disk.path().join("credential.json"));
    assignments.save(&assignment()?).await?;
    credentials.save_next(&credential()?).await?;
    credentials.confirm_next().await?;
    let queue = FileQueue::new(disk.path().join("queue"));
    let mut pushed = 0;
    let full = loop {
        match queue.push(pushed, vec![b'x'; 3000]).await {
            Ok(()) if pushed < MOST as u64 => pushed += 1,
            ended => break ended,
        }
    };
    report.figure("messages queued until the disk was full", pushed);
    // The last bytes of the disk.
    let rest = fs::write(disk.path().join("filler"), vec![0; 1024 * 1024]);
    let saved = assignments.save(&assignment()?).await;
    let stored = credentials.save_next(&credential()?).await;
    for (what, ended) in [
        ("the queue", full),
        ("the rest of the disk", rest),
        ("the assignment", saved),
        ("the credential", stored),
    ] {
        let is_full = matches!(&ended, Err(error) if error.kind() == ErrorKind::StorageFull);
        report.check(is_full, || format!("{what} on a full disk: {ended:?}"));
    }

    let loaded = assignments.load().await?;
    report.check(loaded == Some(assignment()?), || {
        "the assignment is lost after a write on a full disk".into()
    });
    let loaded = credentials.load().await?;
    report.check(
        loaded.current == Some(credential()?) && loaded.next.is_none(),
        || "the credential is lost after a write on a full disk".into(),
    );
    drop(queue);
    let queue = FileQueue::new(disk.path().join("queue"));
    let kept = queue.load().await?.len() as u64;
    report.check(kept >= pushed, || {
        format!("{kept} of {pushed} messages are in the queue")
    });
    fs::remove_file(disk.path().join("filler"))?;
    disk.remount("size=8m")?;
    report.check(
        queue.push(pushed + 1, b"later".to_vec()).await.is_ok(),
        || "the queue does not accept a message after the disk has space again".into(),
    );
    report.check(assignments.save(&assignment()?).await.is_ok(), || {
        "the assignment cannot be saved after the disk has space again".into()
    });
    Ok(())
}
