//! `list` and `query`: enrollments, page by page.

use clap::Args;
use dps_service::{Enrollments, QuerySpecification};

use super::kind::Kind;
use crate::context::Context;
use crate::failure::Result;
use crate::output;

#[derive(Args)]
pub(crate) struct List {
    /// Print at most this number
    #[arg(long, value_name = "N")]
    top: Option<usize>,
}

#[derive(Args)]
pub(crate) struct Query {
    /// Query, such as "SELECT * FROM enrollments". The service supports only a few
    query: String,
    #[command(flatten)]
    list: List,
}

pub(super) async fn run<K: Kind>(
    list: &List,
    enrollments: Enrollments<'_, K::Document>,
    context: &Context,
) -> Result {
    print::<K>(list, QuerySpecification::default(), enrollments, context).await
}

pub(super) async fn query<K: Kind>(
    query: Query,
    enrollments: Enrollments<'_, K::Document>,
    context: &Context,
) -> Result {
    let specification = QuerySpecification::new(query.query);
    print::<K>(&query.list, specification, enrollments, context).await
}

async fn print<K: Kind>(
    list: &List,
    specification: QuerySpecification,
    enrollments: Enrollments<'_, K::Document>,
    context: &Context,
) -> Result {
    let mut pager = enrollments.query(specification);
    let mut printed = context.output.list(K::COLUMNS);
    let mut left = list.top.unwrap_or(usize::MAX);
    while left > 0 {
        let Some(enrollment) = pager.try_next().await? else {
            break;
        };
        let mut value = serde_json::to_value(enrollment)?;
        output::mask_keys(&mut value);
        printed.push(value)?;
        left -= 1;
    }
    printed.finish()
}
