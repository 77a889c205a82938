//! The client's own record of writes, in a file that it flushes to the disk: which were attempted, acknowledged and refused.
//!
//! The emulator never sees the file, so its state after a kill can be compared with it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Result;

/// The value of a key that was deleted, or was never written.
pub(crate) const ABSENT: &str = "-";

/// The file. Each line is `verb key value version`, separated by tabs.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
    file: Mutex<File>,
    acknowledged: AtomicU64,
}

/// The values that the record allows for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The value of the last write that was acknowledged, and the version that the service returned for it.
    pub(crate) value: String,
    pub(crate) version: String,
    /// The values of later writes without an outcome: each may have been made.
    pub(crate) in_doubt: Vec<String>,
    /// All versions that the key has had.
    pub(crate) versions: Vec<String>,
    /// The service acknowledged a write of the key.
    pub(crate) is_acknowledged: bool,
}

/// The record as it was read.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) keys: BTreeMap<String, Expected>,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
}

impl Record {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: Mutex::new(File::options().append(true).create_new(true).open(path)?),
            acknowledged: AtomicU64::new(0),
        })
    }

    /// Records that a write begins. `value` must differ from every other value of the key.
    pub(crate) fn attempt(&self, key: &str, value: &str) -> Result<()> {
        self.line("try", key, value, "")
    }

    /// Records that the service acknowledged the write.
    pub(crate) fn acknowledge(&self, key: &str, value: &str, version: &str) -> Result<()> {
        self.line("ack", key, value, version)?;
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// The number of writes that this process has recorded as acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Records that the service refused the write.
    pub(crate) fn refuse(&self, key: &str, value: &str) -> Result<()> {
        self.line("no", key, value, "")
    }

    /// Records what the service has after writes in doubt: it is as good as acknowledged.
    pub(crate) fn settle(&self, key: &str, value: &str, version: &str) -> Result<()> {
        self.line("is", key, value, version)
    }

    fn line(&self, verb: &str, key: &str, value: &str, version: &str) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(format!("{verb}\t{key}\t{value}\t{version}\n").as_bytes())?;
        Ok(file.sync_data()?)
    }

    /// Reads the file.
    pub(crate) fn read(&self) -> Result<Ledger> {
        let mut ledger = Ledger::default();
        for line in fs::read_to_string(&self.path)?.lines() {
            let parts: Vec<&str> = line.split('\t').collect();
            let [verb, key, value, version] = parts[..] else {
                return Err(format!("'{line}' is not a valid line of the record").into());
            };
            ledger.apply(verb, key, value, version);
        }
        Ok(ledger)
    }
}

impl Ledger {
    fn apply(&mut self, verb: &str, key: &str, value: &str, version: &str) {
        let expected = self.keys.entry(key.to_owned()).or_insert_with(|| Expected {
            value: ABSENT.to_owned(),
            version: String::new(),
            in_doubt: Vec::new(),
            versions: Vec::new(),
            is_acknowledged: false,
        });
        match verb {
            "try" => expected.in_doubt.push(value.to_owned()),
            "no" => {
                expected.in_doubt.retain(|doubtful| doubtful != value);
                self.refused += 1;
            }
            _ => {
                expected.in_doubt.clear();
                value.clone_into(&mut expected.value);
                version.clone_into(&mut expected.version);
                if !version.is_empty() && !expected.versions.iter().any(|known| known == version) {
                    expected.versions.push(version.to_owned());
                }
                if verb == "ack" {
                    expected.is_acknowledged = true;
                    self.acknowledged += 1;
                }
            }
        }
    }
}

impl Expected {
    /// Compares the key with what the service has. Returns the difference.
    pub(crate) fn compare(&self, value: &str, version: &str) -> std::result::Result<(), String> {
        if value == self.value {
            return match self.version.is_empty() || version == self.version {
                true => Ok(()),
                // A write of the same value may have been made.
                false if self.in_doubt.iter().any(|doubtful| doubtful == value) => Ok(()),
                false => Err(format!(
                    "the version is {version}, and {} was acknowledged",
                    self.version
                )),
            };
        }
        match self.in_doubt.iter().any(|doubtful| doubtful == value) {
            true => Ok(()),
            false => Err(format!(
                "the value is {value}; {} was acknowledged, and {:?} were attempted later",
                self.value, self.in_doubt
            )),
        }
    }
}
