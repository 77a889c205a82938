//! `enable` and `disable`: the provisioning status of enrollments.

use clap::Args;
use dps_service::Enrollments;

use super::document;
use super::kind::Kind;
use crate::context::Context;
use crate::failure::Result;

#[derive(Args)]
pub(crate) struct Enable {
    /// Ids of the enrollments
    #[arg(required = true)]
    ids: Vec<String>,
}

pub(super) async fn run<K: Kind>(
    enable: &Enable,
    enabled: bool,
    enrollments: Enrollments<'_, K::Document>,
    context: &Context,
) -> Result {
    let status = if enabled { "enabled" } else { "disabled" };
    for text in &enable.ids {
        let id = K::parse_id(text)?;
        let change = |enrollment: &mut K::Document| -> Result<(), String> {
            let mut fields = document::fields(enrollment).map_err(|failure| failure.to_string())?;
            fields.insert("provisioningStatus".into(), status.into());
            *enrollment = document::typed(fields).map_err(|failure| failure.to_string())?;
            Ok(())
        };
        enrollments.modify(&id, change).await?;
        context.output.note(format_args!("{status} {text}"));
    }
    Ok(())
}
