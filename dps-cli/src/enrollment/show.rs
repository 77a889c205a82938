//! `show`: one enrollment, with its symmetric keys on request.

use clap::Args;
use dps_service::Enrollments;
use serde::Serialize;

use super::document;
use super::kind::Kind;
use crate::context::Context;
use crate::failure::Result;
use crate::output;

#[derive(Args)]
pub(crate) struct Show {
    /// Id of the enrollment
    id: String,
    /// Print the symmetric keys
    #[arg(long)]
    show_keys: bool,
}

pub(super) async fn run<K: Kind>(
    show: &Show,
    enrollments: Enrollments<'_, K::Document>,
    context: &Context,
) -> Result {
    let id = K::parse_id(&show.id)?;
    let enrollment = enrollments.get(&id).await?;
    if !show.show_keys {
        return print(&enrollment, false, context);
    }
    let mut fields = document::fields(&enrollment)?;
    let attestation = enrollments.attestation_mechanism(&id).await?;
    fields.insert("attestation".into(), serde_json::to_value(attestation)?);
    print(&fields, true, context)
}

/// Prints an enrollment; its keys are masked unless they are requested.
pub(super) fn print(enrollment: &impl Serialize, show_keys: bool, context: &Context) -> Result {
    let mut value = serde_json::to_value(enrollment)?;
    if !show_keys {
        output::mask_keys(&mut value);
    }
    context.output.item(value)
}
