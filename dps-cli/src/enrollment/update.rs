//! `update`: changes fields of one enrollment, and writes it with its ETag.

use clap::Args;
use dps_service::Enrollments;

use super::kind::Kind;
use super::settings::Settings;
use super::{document, show};
use crate::context::Context;
use crate::failure::Result;
use crate::input::{self, TextOrFile};

/// The enrollment is read, changed, and written if it has not changed in the meantime; otherwise it is read again.
#[derive(Args)]
pub(crate) struct Update<K: Kind> {
    /// Id of the enrollment
    id: String,
    #[command(flatten)]
    own: K,
    #[command(flatten)]
    settings: Settings,
    /// Set any field, such as initialTwin.tags.model=t1; the value may be @FILE
    #[arg(long, value_name = "PATH=VALUE", value_parser = path_and_value)]
    set: Vec<(String, TextOrFile)>,
    /// Remove a field, such as deviceId
    #[arg(long, value_name = "PATH")]
    unset: Vec<String>,
}

pub(super) async fn run<K: Kind>(
    update: Update<K>,
    enrollments: Enrollments<'_, K::Document>,
    context: &Context,
) -> Result {
    let id = K::parse_id(&update.id)?;
    let attestation = update.settings.attestation(&update.own)?;
    let mut values = Vec::new();
    for (path, value) in &update.set {
        values.push((path, document::parse(path, &input::value_or_file(value)?)));
    }
    let change = |enrollment: &mut K::Document| -> Result {
        let mut fields = document::fields(enrollment)?;
        if let Some(attestation) = &attestation {
            fields.insert("attestation".into(), attestation.clone());
        }
        update.own.apply(&mut fields);
        update.settings.apply(&mut fields)?;
        for (path, value) in &values {
            document::set(&mut fields, path, value.clone())?;
        }
        for path in &update.unset {
            document::unset(&mut fields, path);
        }
        *enrollment = document::typed(fields)?;
        Ok(())
    };
    let changed = enrollments.modify(&id, |enrollment| {
        change(enrollment).map_err(|failure| failure.to_string())
    });
    show::print(&changed.await?, false, context)
}

fn path_and_value(text: &str) -> Result<(String, TextOrFile), String> {
    let (path, value) = text
        .split_once('=')
        .ok_or_else(|| format!("--set {text} is not PATH=VALUE"))?;
    Ok((path.to_owned(), value.to_owned().into()))
}
