//! `export`: all enrollments as a CSV, JSON or NDJSON file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use dps_service::{Enrollments, QuerySpecification};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;

use super::document;
use super::kind::Kind;
use super::reader::{FileFormat, MAX_ENROLLMENT};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::files;
use crate::tools::progress;

/// The concurrent requests for keys.
const CONCURRENCY: usize = 8;

/// Fields that the service writes, and that an import does not accept or need.
const READ_ONLY: [&str; 3] = [
    "createdDateTimeUtc",
    "lastUpdatedDateTimeUtc",
    "registrationState",
];

#[derive(Args)]
pub(crate) struct Export {
    /// File to write; - for stdout
    file: PathBuf,
    /// Format of the file; by its extension by default
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FileFormat>,
    /// Export the symmetric keys: one more request for each enrollment. Keep the file secret
    #[arg(long)]
    with_keys: bool,
}

pub(super) async fn run<K: Kind>(
    export: &Export,
    enrollments: Enrollments<'_, K::Document>,
    context: &Context,
) -> Result {
    let to_stdout = export.file.as_os_str() == "-";
    let format = match (export.format, to_stdout) {
        (Some(format), _) => format,
        (None, true) => FileFormat::Ndjson,
        (None, false) => FileFormat::of(&export.file)?,
    };
    let sink: Box<dyn Write + Send> = match to_stdout {
        true => Box::new(io::stdout()),
        false => Box::new(create(export)?),
    };
    let mut writer = Writer::new(BufWriter::new(sink), format, K::ID)?;
    let bar = progress::counter(context, "enrollments");
    let with_keys = export.with_keys;
    let documents = enrollments
        .query(QuerySpecification::default())
        .map(|found| async move {
            let mut fields = document::fields(&found?)?;
            READ_ONLY.iter().for_each(|name| drop(fields.remove(*name)));
            let id = fields
                .get(K::ID)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let is_key = fields
                .get("attestation")
                .and_then(|attestation| attestation.get("type"))
                == Some(&"symmetricKey".into());
            if with_keys && is_key {
                let attestation = enrollments
                    .attestation_mechanism(&K::parse_id(&id)?)
                    .await?;
                fields.insert("attestation".into(), serde_json::to_value(attestation)?);
            }
            Ok::<_, Failure>(Value::Object(fields))
        });
    let mut documents = std::pin::pin!(documents.buffered(CONCURRENCY));
    let mut count = 0_usize;
    while let Some(document) = documents.try_next().await? {
        writer.write(&document)?;
        count += 1;
        bar.inc(1);
    }
    bar.finish_and_clear();
    writer.finish()?;
    context
        .output
        .note(format_args!("exported {count} enrollments"));
    Ok(())
}

/// Creates the file. With keys, only its owner may read it.
fn create(export: &Export) -> Result<File> {
    let mut options = File::options();
    options.create(true).write(true).truncate(true);
    let path = &export.file;
    let opened = match export.with_keys {
        true => files::open_private(&mut options, path),
        false => options.open(path),
    };
    opened.map_err(|error| {
        Failure::usage(format!("{} cannot be written", path.display())).because(&error)
    })
}

/// Writes documents in a format.
struct Writer<W: Write> {
    target: Target<W>,
    id: &'static str,
    count: usize,
}

enum Target<W: Write> {
    Csv(Box<csv::Writer<W>>),
    Json(W),
    Ndjson(W),
}

impl<W: Write> Writer<W> {
    fn new(sink: W, format: FileFormat, id: &'static str) -> Result<Self> {
        let target = match format {
            FileFormat::Csv => {
                let mut csv = csv::Writer::from_writer(sink);
                csv.write_record(columns(id)).map_err(csv_failure)?;
                Target::Csv(Box::new(csv))
            }
            FileFormat::Json => Target::Json(sink),
            FileFormat::Ndjson => Target::Ndjson(sink),
        };
        Ok(Self {
            target,
            id,
            count: 0,
        })
    }

    fn write(&mut self, document: &Value) -> Result {
        match &mut self.target {
            Target::Csv(csv) => {
                let cells = columns(self.id).map(|path| document::cell(document, path));
                csv.write_record(cells).map_err(csv_failure)?;
            }
            Target::Json(sink) => {
                sink.write_all(if self.count == 0 { b"[\n" } else { b",\n" })?;
                serde_json::to_writer(sink, document)?;
            }
            Target::Ndjson(sink) => {
                let line = document.to_string();
                if line.len() > MAX_ENROLLMENT {
                    let id = document.get(self.id).and_then(Value::as_str);
                    return Err(Failure::usage(format!(
                        "the enrollment {} has {} bytes as JSON, and an import reads at most {MAX_ENROLLMENT}",
                        id.unwrap_or_default(),
                        line.len()
                    ))
                    .with_hint("use --format json"));
                }
                writeln!(sink, "{line}")?;
            }
        }
        self.count += 1;
        Ok(())
    }

    fn finish(self) -> Result {
        match self.target {
            Target::Csv(mut csv) => csv.flush()?,
            Target::Json(mut sink) => {
                sink.write_all(if self.count == 0 { b"[]\n" } else { b"\n]\n" })?;
                sink.flush()?;
            }
            Target::Ndjson(mut sink) => sink.flush()?,
        }
        Ok(())
    }
}

fn columns(id: &'static str) -> impl Iterator<Item = &'static str> {
    let of_devices: &[_] = match id {
        "registrationId" => &["deviceId", "optionalDeviceInformation"],
        _ => &[],
    };
    [id].into_iter()
        .chain(of_devices.iter().copied())
        .chain(document::COLUMNS.iter().copied())
}

fn csv_failure(error: csv::Error) -> Failure {
    Failure::usage("the CSV file cannot be written").because(&error)
}
