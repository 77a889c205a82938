//! `import`: any number of enrollments from a file, with a progress bar, a report of failures, and a position to resume at.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use dps_service::{BulkOperationMode, BulkOutcome, Enrollments, ErrorKind};
use futures_util::stream;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::kind::Kind;
use super::reader::{self, FileFormat, Row};
use super::{document, position};
use crate::context::Context;
use crate::failure::{Exit, Failure, Result};
use crate::files;
use crate::input::InputFile;
use crate::tools::progress;

/// The rows that wait for a request.
const QUEUE: usize = 64;
/// How often the position is saved: a run that is killed repeats at most this number of rows.
const SAVE_EVERY: usize = 100;

/// Ten enrollments are one request, and several requests run at the same time. An enrollment that fails does not stop the
/// others; it is one line of the failure report, with the reason.
#[derive(Args)]
pub(crate) struct Import {
    /// CSV, JSON or NDJSON file; - for stdin. The columns of CSV are paths, such as initialTwin.tags.model
    file: InputFile,
    /// Format of the file; by its extension by default
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FileFormat>,
    /// What to do with each enrollment
    #[arg(long, value_enum, default_value = "create", value_name = "MODE")]
    mode: Mode,
    /// File for the failures, one JSON document per line; its enrollments can be corrected and imported
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
    /// File with the position: if the run is interrupted, the same command continues there
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Number of concurrent requests
    #[arg(long, value_name = "N", default_value_t = 4)]
    concurrency: usize,
    /// Read and check the file, and send nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// Create it; it must not exist
    Create,
    /// Replace it; it must exist. Without an etag, any version is replaced
    Update,
    /// Delete it; only the id is read
    Delete,
}

/// A row that is not valid, with its fields if they can be read.
struct Refused {
    number: usize,
    failure: Failure,
    fields: Option<Map<String, Value>>,
}

/// One failed row, as the report contains it.
#[derive(Serialize)]
struct FailedRow {
    row: usize,
    id: Option<String>,
    error: String,
    /// Whether the same row may succeed later.
    retryable: bool,
    enrollment: Option<Value>,
}

pub(super) async fn run<K: Kind>(
    import: Import,
    enrollments: Enrollments<'_, K::Document>,
    context: &Context,
) -> Result {
    let format = import
        .format
        .map_or_else(|| FileFormat::of(import.file.path()), Ok)?;
    let done_before = position::read(import.resume.as_deref())?;
    let mut report = Report::new(import.failures.as_deref(), done_before > 0)?;
    let (sender, mut rows) = mpsc::channel::<Row>(QUEUE);
    let file = import.file.clone();
    let reading = tokio::task::spawn_blocking(move || {
        reader::read(&file, format, |row| {
            row.number <= done_before || sender.blocking_send(row).is_ok()
        })
    });

    // Rows that are not valid never reach the service. The others keep their numbers, in the order of the outcomes.
    let (refused_sender, mut refused) = mpsc::unbounded_channel();
    let (numbers_sender, mut numbers) = mpsc::unbounded_channel();
    let mode = import.mode;
    let items = stream::poll_fn(move |task| {
        loop {
            let Some(row) = std::task::ready!(rows.poll_recv(task)) else {
                return std::task::Poll::Ready(None);
            };
            let number = row.number;
            let (failure, fields) = match row.fields.map(of_report) {
                Ok(fields) => match item::<K>(fields.clone(), mode) {
                    Ok(item) => {
                        let _ = numbers_sender.send(number);
                        return std::task::Poll::Ready(Some(item));
                    }
                    Err(failure) => (failure, Some(fields)),
                },
                Err(failure) => (failure, None),
            };
            let _ = refused_sender.send(Refused {
                number,
                failure,
                fields,
            });
        }
    });

    let bar = progress::counter(context, "enrollments");
    let mut stopped = None;
    let mut last = done_before;
    if import.dry_run {
        let mut items = std::pin::pin!(items);
        while let Some(_item) = futures_util::StreamExt::next(&mut items).await {
            report.succeeded += 1;
            bar.inc(1);
        }
    } else {
        let bulk = enrollments
            .bulk(mode.operation())
            .with_concurrency(import.concurrency);
        let mut run = bulk.run_stream(items);
        while let Some(outcome) = run.next().await {
            let number = numbers.try_recv().unwrap_or_default();
            if matches!(&outcome.result, Err(error) if error.kind() == ErrorKind::NotAttempted) {
                // Every other row would be reported in the same way.
                stopped.get_or_insert(number);
                break;
            }
            last = number;
            report.invalid_before::<K>(number, &mut refused)?;
            report.outcome::<K>(number, outcome)?;
            bar.inc(1);
            if report.rows().is_multiple_of(SAVE_EVERY) {
                report.flush()?;
                position::save(import.resume.as_deref(), last)?;
            }
        }
    }
    bar.finish_and_clear();
    report.invalid_before::<K>(stopped.unwrap_or(usize::MAX), &mut refused)?;
    position::save(import.resume.as_deref(), last)?;
    report.flush()?;
    if stopped.is_none() {
        match reading.await {
            Ok(read) => read?,
            Err(_) => {
                return Err(Failure::new(
                    Exit::Failure,
                    "the file was not read to its end",
                ));
            }
        }
        if let (Some(file), false) = (&import.resume, import.dry_run) {
            fs::remove_file(file).ok();
        }
    }
    report.summary(&import, stopped, context)
}

impl Mode {
    fn operation(self) -> BulkOperationMode {
        match self {
            Self::Create => BulkOperationMode::Create,
            Self::Update => BulkOperationMode::Update,
            Self::Delete => BulkOperationMode::Delete,
        }
    }
}

/// The enrollment in a line of a failure report, which can be imported. Other fields are unchanged.
fn of_report(mut fields: Map<String, Value>) -> Map<String, Value> {
    match fields.remove("enrollment") {
        Some(Value::Object(enrollment)) => enrollment,
        Some(other) => {
            fields.insert("enrollment".to_owned(), other);
            fields
        }
        None => fields,
    }
}

/// The enrollment of a row. `update` without an etag replaces any version.
pub(super) fn item<K: Kind>(mut fields: Map<String, Value>, mode: Mode) -> Result<K::Document> {
    let id = fields
        .get(K::ID)
        .and_then(Value::as_str)
        .unwrap_or_default();
    if id.is_empty() {
        return Err(Failure::usage(format!("{} is missing", K::ID)));
    }
    match mode {
        Mode::Update => {
            fields.entry("etag").or_insert_with(|| "*".into());
        }
        Mode::Create => {
            fields.remove("etag");
        }
        Mode::Delete => {}
    }
    add_attestation_type(&mut fields);
    document::typed(fields)
}

/// Without a type, the attestation is what its only member describes; without an attestation, the service generates keys.
fn add_attestation_type(fields: &mut Map<String, Value>) {
    const TYPES: [&str; 3] = ["symmetricKey", "tpm", "x509"];
    let attestation = fields.entry("attestation").or_insert_with(|| json!({}));
    let Some(attestation) = attestation.as_object_mut() else {
        return;
    };
    if attestation.contains_key("type") {
        return;
    }
    let mut described = TYPES
        .into_iter()
        .filter(|name| attestation.contains_key(*name));
    let only = described.next().filter(|_| described.next().is_none());
    if let Some(name) = only.or(attestation.is_empty().then_some(TYPES[0])) {
        attestation.insert("type".to_owned(), name.into());
    }
}

/// The failures, and the counts.
struct Report {
    file: Option<BufWriter<File>>,
    succeeded: usize,
    failed: usize,
    first: Option<String>,
    /// A row that is not valid, and whose turn has not come.
    next: Option<Refused>,
}

impl Report {
    fn new(path: Option<&Path>, append: bool) -> Result<Self> {
        let open = |path: &Path| {
            let mut options = File::options();
            options
                .create(true)
                .write(true)
                .append(append)
                .truncate(!append);
            // The documents contain their keys.
            let opened = files::open_private(&mut options, path);
            opened.map_err(|error| {
                Failure::usage(format!("{} cannot be written", path.display())).because(&error)
            })
        };
        Ok(Self {
            file: path.map(open).transpose()?.map(BufWriter::new),
            succeeded: 0,
            failed: 0,
            first: None,
            next: None,
        })
    }

    fn outcome<K: Kind>(&mut self, row: usize, outcome: BulkOutcome<K::Document>) -> Result {
        let Err(error) = &outcome.result else {
            self.succeeded += 1;
            return Ok(());
        };
        let enrollment = serde_json::to_value(&outcome.item)?;
        let id = enrollment
            .get(K::ID)
            .and_then(Value::as_str)
            .map(str::to_owned);
        let retryable = !outcome.is_refused();
        self.write(FailedRow {
            row,
            id,
            error: error.to_string(),
            retryable,
            enrollment: Some(enrollment),
        })
    }

    fn invalid<K: Kind>(&mut self, refused: Refused) -> Result {
        let id = refused.fields.as_ref().and_then(|fields| fields.get(K::ID));
        self.write(FailedRow {
            row: refused.number,
            id: id.and_then(Value::as_str).map(str::to_owned),
            error: refused.failure.to_string(),
            retryable: false,
            enrollment: refused.fields.map(Value::Object),
        })
    }

    /// Reports the rows before this one that are not valid. Those after it may be read again by a later run.
    fn invalid_before<K: Kind>(
        &mut self,
        row: usize,
        refused: &mut mpsc::UnboundedReceiver<Refused>,
    ) -> Result {
        while let Some(next) = self.next.take().or_else(|| refused.try_recv().ok()) {
            if next.number > row {
                self.next = Some(next);
                break;
            }
            self.invalid::<K>(next)?;
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.succeeded + self.failed
    }

    fn write(&mut self, row: FailedRow) -> Result {
        self.failed += 1;
        let name = row.id.as_deref().unwrap_or("not valid");
        self.first
            .get_or_insert_with(|| format!("row {} ({name}): {}", row.row, row.error));
        if let Some(file) = &mut self.file {
            serde_json::to_writer(&mut *file, &row)?;
            file.write_all(b"\n")?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result {
        self.file.as_mut().map_or(Ok(()), |file| Ok(file.flush()?))
    }

    fn summary(&self, import: &Import, stopped: Option<usize>, context: &Context) -> Result {
        context.output.item(json!({
            "succeeded": self.succeeded, "failed": self.failed, "notAttemptedFrom": stopped, "dryRun": import.dry_run,
        }))?;
        let first = self
            .first
            .as_deref()
            .unwrap_or("the service stopped answering");
        if let Some(row) = stopped {
            let message = format!("the import stopped at row {row}: {first}");
            return Err(match &import.resume {
                Some(_) => Failure::new(Exit::Unavailable, message)
                    .with_hint("run the same command again: it continues there"),
                None => Failure::new(Exit::Unavailable, message)
                    .with_hint("use --resume FILE to continue there"),
            });
        }
        if self.failed == 0 {
            return Ok(());
        }
        let exit = if self.succeeded == 0 {
            Exit::Failure
        } else {
            Exit::Partial
        };
        let failure = Failure::new(
            exit,
            format!("{} enrollments failed; the first: {first}", self.failed),
        );
        Err(match &import.failures {
            Some(file) => failure.with_hint(format!("{} contains all of them", file.display())),
            None => failure.with_hint("use --failures FILE to get all of them"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attestation_without_a_type_is_what_its_only_member_describes() {
        for (attestation, expected) in [
            (json!({}), json!("symmetricKey")),
            (
                json!({"symmetricKey": {"primaryKey": "AA=="}}),
                json!("symmetricKey"),
            ),
            (json!({"tpm": {"endorsementKey": "AA=="}}), json!("tpm")),
            (json!({"x509": {}, "type": "none"}), json!("none")),
            (json!({"x509": {}, "tpm": {}}), Value::Null),
            (json!({"x509ca": {}}), Value::Null),
            (json!("x509"), Value::Null),
        ] {
            let mut fields = Map::new();
            fields.insert("attestation".to_owned(), attestation.clone());
            add_attestation_type(&mut fields);
            assert_eq!(fields["attestation"]["type"], expected, "{attestation}");
        }
        let mut fields = Map::new();
        add_attestation_type(&mut fields);
        assert_eq!(fields["attestation"], json!({"type": "symmetricKey"}));
    }
}
