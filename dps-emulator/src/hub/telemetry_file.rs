//! Writes the device-to-cloud messages of all hubs to a file, one JSON object per line.

use std::path::{Path, PathBuf};

use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::{Telemetry, TelemetryStream};
use crate::error::{Error, ErrorKind};

/// A file that is open for new lines.
#[derive(Debug)]
pub(crate) struct TelemetryFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl TelemetryFile {
    /// Opens the file and keeps what is in it. A new file can be read by its owner only.
    pub(crate) async fn open(path: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(path).await.map_err(|error| {
            let what = format!("the telemetry file {} cannot be opened", path.display());
            Error::new(ErrorKind::Configuration, what).with_source(error)
        })?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
        })
    }

    /// Writes each message until the emulator stops. A line is on disk as soon as no other message waits.
    pub(crate) async fn write(mut self, mut messages: TelemetryStream) {
        let written: std::io::Result<()> = async {
            while let Some(item) = messages.next().await {
                self.line(&item).await?;
                while let Some(item) = messages.try_next() {
                    self.line(&item).await?;
                }
                self.file.flush().await?;
            }
            Ok(())
        }
        .await;
        if let Err(error) = written {
            tracing::error!(file = %self.path.display(), %error, "telemetry is no longer written to the file");
        }
    }

    async fn line(&mut self, item: &Telemetry) -> std::io::Result<()> {
        match item {
            Telemetry::Message(message) => {
                let mut line = serde_json::to_vec(message)?;
                line.push(b'\n');
                self.file.write_all(&line).await
            }
            Telemetry::Missed(count) => {
                tracing::warn!(count, file = %self.path.display(), "telemetry arrived faster than it was written; messages are missing in the file");
                Ok(())
            }
        }
    }
}
