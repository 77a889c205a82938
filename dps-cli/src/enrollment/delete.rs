//! `delete`: one or several enrollments by their ids.

use clap::Args;
use dps_service::Enrollments;

use super::kind::Kind;
use crate::context::Context;
use crate::failure::{Exit, Failure, Result};

#[derive(Args)]
pub(crate) struct Delete {
    /// Ids of the enrollments. For a large number, use `import --mode delete`
    #[arg(required = true)]
    ids: Vec<String>,
    /// Delete only this version
    #[arg(long, value_name = "ETAG")]
    etag: Option<dps_types::ETag>,
}

pub(super) async fn run<K: Kind>(
    delete: &Delete,
    enrollments: Enrollments<'_, K::Document>,
    context: &Context,
) -> Result {
    let ids = delete
        .ids
        .iter()
        .map(|id| K::parse_id(id))
        .collect::<Result<Vec<_>>>()?;
    let mut failed = Vec::new();
    for (id, text) in ids.iter().zip(&delete.ids) {
        let deleted = match &delete.etag {
            Some(etag) => enrollments.delete_if_match(id, etag).await,
            None => enrollments.delete(id).await,
        };
        match deleted {
            Ok(()) => context.output.note(format_args!("deleted {text}")),
            Err(error) => failed.push(Failure::from(error).about(text)),
        }
    }
    let count = failed.len();
    match failed.pop() {
        None => Ok(()),
        Some(only) if delete.ids.len() == 1 => Err(only),
        Some(last) => {
            failed
                .iter()
                .for_each(|failure| context.output.note(failure));
            let message = format!(
                "{count} of {} were not deleted; the last: {last}",
                delete.ids.len()
            );
            Err(Failure::new(Exit::Partial, message))
        }
    }
}
