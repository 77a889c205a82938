//! The line on stdout that people and programs wait for.

use std::error::Error as StdError;
use std::io::Write;

use crate::Emulator;
use serde_json::{Map, Value};
use tempfile::TempDir;

use super::Settings;

/// Prints the line. Returns the directory of the CA certificate, if it is a temporary one.
pub(crate) fn announce(
    emulator: &Emulator,
    settings: &Settings,
) -> Result<Option<TempDir>, Box<dyn StdError>> {
    let options = &settings.options;
    let mut scratch = None;
    let ca = if let Some(own) = &options.server_certificate {
        own.clone()
    } else if options.ephemeral {
        let dir = scratch.insert(TempDir::new()?);
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, emulator.ca_pem())?;
        path
    } else {
        options.data_dir.join("ca.pem")
    };
    let mut line = Map::new();
    line.insert("ready".to_owned(), true.into());
    line.insert(
        "caPem".to_owned(),
        Value::from(std::path::absolute(ca)?.to_string_lossy()),
    );
    line.extend(emulator.connection_info());
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", Value::Object(line))?;
    stdout.flush()?;
    Ok(scratch)
}
