//! Damage to the files in the emulator's data directory.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dps_benches::TransportKind;
use dps_device::{Roots, SymmetricKeyAttestation};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::enrollment::IndividualEnrollment;
use dps_types::{QuerySpecification, RegistrationId, SymmetricKey};
use tempfile::TempDir;
use tokio::time::timeout;

use super::kinds::{KINDS, Kind, Sources};
use crate::common::Result;
use crate::common::emulator::HUB;
use crate::common::random::Random;
use crate::common::report::Report;

/// The files with the file that is copied over them.
const FILES: [(&str, &str); 4] = [
    ("dps.redb", "ca.pem"),
    ("dps.redb.state", "ca.pem"),
    ("ca.pem", "ca-key.pem"),
    ("ca-key.pem", "ca.pem"),
];
/// The enrollments of the older and of the newer directory.
const OLD: usize = 20;
const NEW: usize = 60;
/// The longest time of a start.
const START: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) damaged: usize,
    pub(super) intact: usize,
    pub(super) refused: usize,
}

/// A data directory that was closed in order, and an older copy of it.
pub(super) struct Template {
    dir: TempDir,
    roots: Roots,
    key: SymmetricKey,
}

/// The result of a start.
enum Start {
    Started(BTreeSet<String>),
    Refused(String),
}

impl Template {
    pub(super) async fn create() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("new");
        let key = SymmetricKey::generate();
        let mut roots = None;
        for (from, to) in [(0, OLD), (OLD, NEW)] {
            let emulator = start(&data).await?;
            roots = Some(Roots::from_pem(emulator.ca_pem())?);
            let service = service(&emulator, roots.clone().unwrap_or_default())?;
            for number in from..to {
                let enrollment =
                    IndividualEnrollment::from_keys(name(number)?, &key, &SymmetricKey::generate());
                service.individual_enrollments().create(&enrollment).await?;
            }
            emulator.shutdown().await;
            if to == OLD {
                copy(&data, &dir.path().join("old"))?;
            }
        }
        Ok(Self {
            dir,
            roots: roots.ok_or("there is no root")?,
            key,
        })
    }

    /// Starts an emulator on each damaged file.
    pub(super) async fn damage(
        &self,
        random: &mut Random,
        counts: &mut Counts,
        report: &mut Report,
    ) -> Result<()> {
        for (file, other) in FILES {
            for kind in KINDS {
                // A file that does not exist in the older directory has no older copy.
                let data = self.dir.path().join("damaged");
                copy(&self.dir.path().join("new"), &data)?;
                let path = data.join(file);
                let old = fs::read(self.dir.path().join("old").join(file))?;
                let other = fs::read(data.join(other))?;
                let sources = Sources {
                    old: &old,
                    other: &other,
                };
                kind.apply(&path, &sources, random)?;
                let before = fingerprint(&path)?;
                counts.damaged += 1;
                let place = format!("{file}, {kind:?}");
                match self.start(&data).await {
                    Ok(Start::Started(found)) => {
                        let count = found.len();
                        let is_whole = count == NEW;
                        // An older copy is what an operator restores.
                        let is_older = kind == Kind::OldCopy && count == OLD;
                        report.check(is_whole || is_older, || {
                            format!("{place}: it starts with {count} of {NEW} enrollments")
                        });
                        counts.intact += 1;
                    }
                    Ok(Start::Refused(error)) => {
                        counts.refused += 1;
                        report.check(!kind.is_harmless(), || {
                            format!("{place}: it is refused although nothing is damaged: {error}")
                        });
                        // The error about a key names its certificate.
                        let names_file = error.contains(file)
                            || file == "ca-key.pem" && error.contains("ca.pem");
                        report.check(names_file, || {
                            format!("{place}: the error does not name the file: {error}")
                        });
                        report.check(fingerprint(&path)? == before, || {
                            format!("{place}: it is refused and changed: {error}")
                        });
                    }
                    Err(error) => report.fault(format!("{place}: {error:#}")),
                }
                fs::remove_dir_all(&data)?;
            }
        }
        Ok(())
    }

    /// Starts an emulator, lists its enrollments, and registers a device that trusts the CA as it was before.
    async fn start(&self, data: &Path) -> Result<Start> {
        let data = data.to_owned();
        let starting = tokio::spawn(async move { start(&data).await });
        let started = timeout(START, starting).await;
        let started = started.map_err(|_| "the start does not end")?;
        let emulator = match started.map_err(|_| "the start panics")? {
            Ok(emulator) => emulator,
            Err(error) => return Ok(Start::Refused(with_causes(&*error))),
        };
        let found = self.read(&emulator).await;
        emulator.shutdown().await;
        found.map(Start::Started)
    }

    async fn read(&self, emulator: &Emulator) -> Result<BTreeSet<String>> {
        let service = service(emulator, self.roots.clone())?;
        let query = QuerySpecification::new("SELECT * FROM enrollments");
        let mut listed = service.individual_enrollments().query(query);
        let mut found = BTreeSet::new();
        while let Some(enrollment) = listed.try_next().await? {
            found.insert(enrollment.registration_id.to_string());
        }
        let who = SymmetricKeyAttestation::new(name(0)?, self.key.clone());
        let client = TransportKind::Mqtt
            .client(emulator.mqtt_port(), emulator.id_scope().clone(), who)
            .with_roots(self.roots.clone());
        client.register().await?;
        Ok(found)
    }
}

async fn start(data: &Path) -> Result<Emulator> {
    let builder = Emulator::builder()
        .data_dir(data)
        .link_hub(HUB.parse::<LinkedHub>()?)
        .retry_after(Duration::ZERO);
    Ok(builder.start().await?)
}

fn service(emulator: &Emulator, roots: Roots) -> Result<ServiceClient> {
    let client = ServiceClient::from_connection_string(&emulator.service_connection_string())?;
    Ok(client.with_roots(roots))
}

fn name(number: usize) -> Result<RegistrationId> {
    Ok(format!("device-{number}").parse()?)
}

fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

/// Copies a directory without folders in it, with the times of the files: the store knows its file by its time.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let target = to.join(entry.file_name());
            fs::copy(entry.path(), &target)?;
            let modified = entry.metadata()?.modified()?;
            fs::File::options()
                .write(true)
                .open(target)?
                .set_modified(modified)?;
        }
    }
    Ok(())
}

/// The type and the content of a file. Of a large file only the length, and the start.
fn fingerprint(path: &Path) -> Result<(String, u64, Vec<u8>, Option<PathBuf>)> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = format!("{:?}", metadata.file_type());
    let content = match metadata.is_file() && metadata.len() < 64 * 1024 * 1024 {
        true => fs::read(path)?,
        false => Vec::new(),
    };
    Ok((kind, metadata.len(), content, fs::read_link(path).ok()))
}
