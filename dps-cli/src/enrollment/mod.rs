//! `dps enrollment` and `dps enrollment-group`: the same commands for both kinds of enrollment.

mod create;
mod delete;
mod document;
mod enable;
mod export;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod import;
pub(crate) mod kind;
mod list;
mod position;
mod reader;
mod rotate_keys;
mod settings;
mod show;
mod update;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::failure::Result;
use crate::service::ServiceOptions;
use kind::Kind;

/// The arguments of both commands.
#[derive(Args)]
pub(crate) struct EnrollmentCommand<K: Kind> {
    #[command(flatten)]
    service: ServiceOptions,
    #[command(subcommand)]
    action: Action<K>,
}

#[derive(Subcommand)]
enum Action<K: Kind> {
    /// Create one, from options or from a JSON document
    Create(Box<create::Create<K>>),
    /// Show one
    Show(show::Show),
    /// Change fields of one, and leave the others as they are
    Update(Box<update::Update<K>>),
    /// Delete one or several. Their devices stay at their hubs, but cannot register again
    Delete(delete::Delete),
    /// List all
    List(list::List),
    /// List those that a query selects
    Query(list::Query),
    /// Create, update or delete any number, from a CSV, JSON or NDJSON file
    Import(import::Import),
    /// Write all to a CSV, JSON or NDJSON file, which `import` reads
    Export(export::Export),
    /// Replace a symmetric key, without an interruption for the devices
    RotateKeys(rotate_keys::RotateKeys),
    /// Allow devices to register
    Enable(enable::Enable),
    /// Refuse devices that register
    Disable(enable::Enable),
}

pub(crate) async fn run<K: Kind>(command: EnrollmentCommand<K>, context: &Context) -> Result {
    let client = command.service.client(context)?;
    let enrollments = K::of(&client);
    match command.action {
        Action::Create(create) => create::run(*create, enrollments, context).await,
        Action::Show(show) => show::run::<K>(&show, enrollments, context).await,
        Action::Update(update) => update::run(*update, enrollments, context).await,
        Action::Delete(delete) => delete::run::<K>(&delete, enrollments, context).await,
        Action::List(list) => list::run::<K>(&list, enrollments, context).await,
        Action::Query(query) => list::query::<K>(query, enrollments, context).await,
        Action::Import(import) => import::run::<K>(import, enrollments, context).await,
        Action::Export(export) => export::run::<K>(&export, enrollments, context).await,
        Action::RotateKeys(rotate) => rotate_keys::run::<K>(&rotate, enrollments, context).await,
        Action::Enable(enable) => enable::run::<K>(&enable, true, enrollments, context).await,
        Action::Disable(disable) => enable::run::<K>(&disable, false, enrollments, context).await,
    }
}
