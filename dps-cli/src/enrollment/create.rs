//! `create`: one enrollment from options, or from a JSON document that the options change.

use clap::Args;
use dps_service::Enrollments;
use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::settings::Settings;
use super::{document, show};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::input::{self, InputFile};

/// Without an option for another attestation, the service generates two symmetric keys.
#[derive(Args)]
pub(crate) struct Create<K: Kind> {
    /// Id of the enrollment
    id: String,
    #[command(flatten)]
    own: K,
    #[command(flatten)]
    settings: Settings,
    /// JSON document of the enrollment; the options change it. - for stdin
    #[arg(long, value_name = "FILE")]
    from_file: Option<InputFile>,
    /// Replace the enrollment if it exists
    #[arg(long)]
    replace: bool,
    /// Print the symmetric keys
    #[arg(long)]
    show_keys: bool,
}

pub(super) async fn run<K: Kind>(
    create: Create<K>,
    enrollments: Enrollments<'_, K::Document>,
    context: &Context,
) -> Result {
    let mut fields = match &create.from_file {
        Some(file) => {
            let document: Value = serde_json::from_slice(&input::read(file)?)
                .map_err(|error| Failure::from(error).about(file.display()))?;
            document::fields(&document)?
        }
        None => Map::new(),
    };
    fields.insert(K::ID.into(), create.id.into());
    if let Some(attestation) = create.settings.attestation(&create.own)? {
        fields.insert("attestation".into(), attestation);
    }
    fields
        .entry("attestation")
        .or_insert_with(|| json!({"type": "symmetricKey"}));
    create.own.apply(&mut fields);
    create.settings.apply(&mut fields)?;

    let enrollment = document::typed(fields)?;
    let created = match create.replace {
        true => enrollments.create_or_replace(&enrollment).await?,
        false => enrollments.create(&enrollment).await?,
    };
    show::print(&created, create.show_keys, context)
}
