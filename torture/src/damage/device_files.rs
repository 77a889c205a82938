//! Damage to the files of a device: its assignment, its credentials, and its message queue.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use dps_device::certificate::{Credential, CredentialFile, CredentialStore};
use dps_device::{AssignmentFile, AssignmentStore, CachedAssignment, FileQueue, MessageQueue};
use tokio::time::timeout;

use super::kinds::{KINDS, Kind, Sources};
use crate::common::Result;
use crate::common::random::Random;
use crate::common::report::Report;

/// The longest time for reading a file.
const READ: Duration = Duration::from_secs(60);
/// The messages in the queue.
const MESSAGES: u64 = 50;

const ASSIGNMENT: &str = r#"{"version":1,"idScope":"0ne00000A0A","registrationId":"toaster-0815","assignedHub":"contoso.azure-devices.net","deviceId":"toaster-0815","payload":{"rate":5}}"#;
/// An earlier assignment of the same device, as an earlier program has written it.
const OLD: &str = r#"{"version":1,"idScope":"0ne00000A0A","registrationId":"toaster-0815","assignedHub":"fabrikam.azure-devices.net","deviceId":"toaster-0815"}"#;

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) damaged: usize,
    pub(super) intact: usize,
    pub(super) missing: usize,
    /// The bytes of documents that were changed alone.
    pub(super) bytes: usize,
}

/// The result of reading a damaged file with a store.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Intact,
    /// An error, or nothing, or less.
    Missing,
    /// Content that was never written.
    Wrong(String),
}

pub(super) fn assignment() -> Result<CachedAssignment> {
    Ok(CachedAssignment::from_json(ASSIGNMENT.as_bytes())?)
}

pub(super) fn credential() -> Result<Credential> {
    let chain = [vec![0x30; 400], vec![0x31; 400]];
    Ok(Credential::from_chain(
        "a key in hardware".to_owned().into(),
        chain,
    )?)
}

pub(super) async fn damage(
    random: &mut Random,
    counts: &mut Counts,
    report: &mut Report,
) -> Result<()> {
    for kind in KINDS {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("assignment.json");
        AssignmentFile::new(&path).save(&assignment()?).await?;
        let other = credential()?.to_json()?;
        let sources = Sources {
            old: OLD.as_bytes(),
            other: &other,
        };
        kind.apply(&path, &sources, random)?;
        let read = timed(read_assignment(path)).await;
        count("assignment", kind, read, counts, report);

        let dir = tempfile::tempdir()?;
        let path = dir.path().join("credential.json");
        let file = CredentialFile::new(&path);
        file.save_next(&credential()?).await?;
        file.confirm_next().await?;
        let old = credential()?.to_json()?;
        let sources = Sources {
            old: &old,
            other: ASSIGNMENT.as_bytes(),
        };
        kind.apply(&path, &sources, random)?;
        let read = timed(read_credential(path)).await;
        count("credential", kind, read, counts, report);

        let dir = tempfile::tempdir()?;
        let queue = FileQueue::new(dir.path());
        for number in 0..MESSAGES {
            queue.push(number, message(number)).await?;
        }
        drop(queue);
        let path = segment(dir.path())?;
        let old = fs::read(&path)?;
        let sources = Sources {
            old: &old[..old.len() / 3],
            other: ASSIGNMENT.as_bytes(),
        };
        kind.apply(&path, &sources, random)?;
        let read = timed(read_queue(dir.path().to_owned())).await;
        count("queue", kind, read, counts, report);
    }
    Ok(())
}

/// Changes one byte at each place of the documents in turn.
pub(super) async fn change_every_byte(
    random: &mut Random,
    counts: &mut Counts,
    report: &mut Report,
) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("document.json");
    let documents = [
        ("assignment", assignment()?.to_json()?),
        ("credential", credential()?.to_json()?.to_vec()),
    ];
    for (file, document) in documents {
        for at in 0..document.len() {
            let mut changed = document.clone();
            changed[at] ^= 1 << random.below(8);
            fs::write(&path, changed)?;
            let read = match file {
                "assignment" => read_assignment(path.clone()).await,
                _ => read_credential(path.clone()).await,
            };
            counts.bytes += 1;
            report.check(matches!(read, Ok(Read::Missing)), || {
                format!("{file} with a changed byte at {at}: {read:?}")
            });
        }
    }
    Ok(())
}

fn count(file: &str, kind: Kind, read: Result<Read>, counts: &mut Counts, report: &mut Report) {
    counts.damaged += 1;
    match read {
        Ok(Read::Intact) => counts.intact += 1,
        Ok(Read::Missing) => {
            counts.missing += 1;
            report.check(!kind.is_harmless(), || {
                format!("{file}, {kind:?}: nothing is damaged, and the content is missing")
            });
        }
        Ok(Read::Wrong(what)) => report.fault(format!("{file}, {kind:?}: {what}")),
        Err(error) => report.fault(format!("{file}, {kind:?}: {error:#}")),
    }
}

/// Runs a read in a task of its own, so that a panic and a hang are found.
async fn timed(read: impl Future<Output = Result<Read>> + Send + 'static) -> Result<Read> {
    let reading = tokio::spawn(read);
    let read = timeout(READ, reading)
        .await
        .map_err(|_| "reading does not end")?;
    read.map_err(|_| "reading panics")?
}

async fn read_assignment(path: std::path::PathBuf) -> Result<Read> {
    let file = AssignmentFile::new(path);
    Ok(match file.load().await {
        Ok(Some(found)) if found == assignment()? => Read::Intact,
        Ok(Some(found)) if found == CachedAssignment::from_json(OLD.as_bytes())? => Read::Missing,
        Ok(Some(other)) => Read::Wrong(format!("another assignment was read: {other:?}")),
        Ok(None) | Err(_) => Read::Missing,
    })
}

async fn read_credential(path: std::path::PathBuf) -> Result<Read> {
    let file = CredentialFile::new(path);
    Ok(match file.load().await {
        Ok(found) => match found.current {
            Some(found) if found == credential()? => Read::Intact,
            Some(other) => Read::Wrong(format!("another credential was read: {other:?}")),
            None => Read::Missing,
        },
        Err(_) => Read::Missing,
    })
}

async fn read_queue(dir: std::path::PathBuf) -> Result<Read> {
    let queue = FileQueue::new(dir);
    let Ok(listed) = queue.load().await else {
        return Ok(Read::Missing);
    };
    let mut found = BTreeMap::new();
    for (number, _) in listed {
        match queue.get(number).await {
            Ok(Some(body)) if body == message(number) => {
                found.insert(number, ());
            }
            Ok(Some(body)) => {
                return Ok(Read::Wrong(format!(
                    "message {number} has {} other bytes",
                    body.len()
                )));
            }
            Ok(None) | Err(_) => {}
        }
    }
    // The queue goes on, if its directory allows it.
    let next = MESSAGES + 1;
    if queue.push(next, message(next)).await.is_ok() {
        let body = queue.get(next).await?;
        if body != Some(message(next)) {
            return Ok(Read::Wrong("a new message cannot be read".into()));
        }
    }
    Ok(match found.len() as u64 {
        MESSAGES => Read::Intact,
        _ => Read::Missing,
    })
}

fn message(number: u64) -> Vec<u8> {
    format!("message {number} {}", "x".repeat(200)).into_bytes()
}

/// The only file of the queue.
fn segment(dir: &Path) -> Result<std::path::PathBuf> {
    let entry = fs::read_dir(dir)?.next().ok_or("the queue has no file")?;
    Ok(entry?.path())
}
