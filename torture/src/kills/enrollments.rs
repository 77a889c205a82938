//! Service clients: they create, update and delete enrollments with ETags, and send writes that must be refused.

use std::sync::Arc;

use dps_service::{Error, ErrorKind};
use dps_types::enrollment::IndividualEnrollment;
use dps_types::{DeviceId, ETag, RegistrationId};

use super::Load;
use crate::common::Result;
use crate::common::random::Random;
use crate::common::record::{ABSENT, Record};

/// The prefix of the keys in the record.
pub(super) const PREFIX: &str = "enrollment/";

/// The enrollments that a task has, with their latest ETag and the one before.
#[derive(Debug)]
struct Own {
    id: RegistrationId,
    etag: ETag,
    stale: Option<ETag>,
}

/// Writes until the emulator does not answer.
pub(super) async fn write(load: Arc<Load>, mut random: Random, task: u64) {
    let _ended = run(&load, &mut random, task).await;
}

async fn run(load: &Load, random: &mut Random, task: u64) -> Result<()> {
    let mut all: Vec<Own> = Vec::new();
    for number in 0_u64.. {
        // The value of the key is the device id of the enrollment.
        let value = format!("value-{number}");
        let chosen = random.below(all.len() as u64) as usize;
        match (random.below(10), all.get_mut(chosen)) {
            (0..=3, _) | (_, None) => {
                let id: RegistrationId = format!("e-{}-{task}-{number}", load.round).parse()?;
                if let Some(etag) = create(load, &id, &value).await? {
                    all.push(Own {
                        id,
                        etag,
                        stale: None,
                    });
                }
            }
            (4..=6, Some(own)) => {
                let written = update(load, &own.id, &own.etag, &value).await?;
                if let Some(etag) = written {
                    own.stale = Some(std::mem::replace(&mut own.etag, etag));
                }
            }
            (7, Some(_)) => {
                let own = all.swap_remove(chosen);
                delete(load, &own).await?;
            }
            // These must be refused: it exists; the ETag is an older one.
            (8, Some(own)) => {
                let written = create(load, &own.id, &value).await?;
                refused(
                    load,
                    &own.id,
                    written,
                    "a second enrollment with the same id",
                )?;
            }
            (_, Some(own)) => {
                if let Some(stale) = &own.stale {
                    let written = update(load, &own.id, stale, &value).await?;
                    refused(load, &own.id, written, "an update with an older ETag")?;
                }
            }
        }
    }
    Ok(())
}

/// Ends the task if a write was acknowledged that must be refused. The record then has a value that differs from every read.
fn refused(load: &Load, id: &RegistrationId, written: Option<ETag>, what: &str) -> Result<()> {
    if written.is_none() {
        return Ok(());
    }
    let refusal = format!("a refusal of {what}");
    load.record.settle(&key(id), &refusal, "")?;
    Err(format!("{what} was not refused").into())
}

fn enrollment(id: &RegistrationId, value: &str) -> Result<IndividualEnrollment> {
    let device: DeviceId = value.parse()?;
    Ok(IndividualEnrollment::symmetric_key(id.clone()).with_device_id(device))
}

async fn create(load: &Load, id: &RegistrationId, value: &str) -> Result<Option<ETag>> {
    let document = enrollment(id, value)?;
    let key = key(id);
    load.record.attempt(&key, value)?;
    let written = load
        .service
        .individual_enrollments()
        .create(&document)
        .await;
    outcome(&load.record, &key, value, written)
}

async fn update(
    load: &Load,
    id: &RegistrationId,
    etag: &ETag,
    value: &str,
) -> Result<Option<ETag>> {
    let mut document = enrollment(id, value)?;
    document.etag = Some(etag.clone());
    let key = key(id);
    load.record.attempt(&key, value)?;
    let written = load
        .service
        .individual_enrollments()
        .update(&document)
        .await;
    outcome(&load.record, &key, value, written)
}

async fn delete(load: &Load, own: &Own) -> Result<()> {
    let key = key(&own.id);
    load.record.attempt(&key, ABSENT)?;
    let enrollments = load.service.individual_enrollments();
    match enrollments.delete_if_match(&own.id, &own.etag).await {
        Ok(()) => load.record.acknowledge(&key, ABSENT, ""),
        Err(error) => failed(&load.record, &key, ABSENT, error),
    }
}

/// Records the outcome of a write. Returns the new ETag, or `None` if the write was refused.
fn outcome(
    record: &Record,
    key: &str,
    value: &str,
    written: std::result::Result<IndividualEnrollment, Error>,
) -> Result<Option<ETag>> {
    match written {
        Ok(written) => {
            let etag = written.etag.ok_or("the answer has no ETag")?;
            record.acknowledge(key, value, etag.as_str())?;
            Ok(Some(etag))
        }
        Err(error) => failed(record, key, value, error).map(|()| None),
    }
}

/// Records a refusal. Every other error ends the task, and leaves the write in doubt.
fn failed(record: &Record, key: &str, value: &str, error: Error) -> Result<()> {
    match error.kind() {
        ErrorKind::Conflict | ErrorKind::PreconditionFailed if !error.is_in_doubt() => {
            record.refuse(key, value)
        }
        _ => Err(error.into()),
    }
}

pub(super) fn key(id: &RegistrationId) -> String {
    format!("{PREFIX}{id}")
}
