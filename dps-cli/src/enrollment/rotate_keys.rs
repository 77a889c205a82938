//! `rotate-keys`: replaces the symmetric keys of an enrollment in two steps, so that its devices keep their access.

use clap::{Args, ValueEnum};
use dps_service::{Enrollments, SymmetricKey};
use serde_json::{Value, json};

use super::kind::Kind;
use super::{document, show};
use crate::context::Context;
use crate::failure::{Exit, Failure, Result};

/// Devices use the primary key, and the secondary one if the primary key is refused. Replace the secondary key, bring it to the
/// devices, swap the keys, and replace the secondary key again.
#[derive(Args)]
pub(crate) struct RotateKeys {
    /// Id of the enrollment
    id: String,
    /// What to do
    #[arg(long, value_enum, default_value = "secondary", value_name = "STEP")]
    step: Step,
    /// Print the symmetric keys
    #[arg(long)]
    show_keys: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Step {
    /// Generate a new primary key
    Primary,
    /// Generate a new secondary key
    Secondary,
    /// Exchange the two keys
    Swap,
}

pub(super) async fn run<K: Kind>(
    rotate: &RotateKeys,
    enrollments: Enrollments<'_, K::Document>,
    context: &Context,
) -> Result {
    let id = K::parse_id(&rotate.id)?;
    let new_key = SymmetricKey::generate();
    let change = |enrollment: &mut K::Document| -> Result {
        let mut fields = document::fields(enrollment)?;
        let keys = fields
            .get("attestation")
            .and_then(|attestation| attestation.get("symmetricKey"));
        let key = |name: &str| {
            keys.and_then(|keys| keys.get(name))
                .cloned()
                .unwrap_or_default()
        };
        let (primary, secondary) = (key("primaryKey"), key("secondaryKey"));
        if primary.is_null() {
            let message = format!("the enrollment {} does not have symmetric keys", rotate.id);
            return Err(Failure::new(Exit::Usage, message));
        }
        let new = Value::from(new_key.to_base64().as_str());
        let (primary, secondary) = match rotate.step {
            Step::Primary => (new, secondary),
            Step::Secondary => (primary, new),
            Step::Swap => (secondary, primary),
        };
        let keys = json!({"primaryKey": primary, "secondaryKey": secondary});
        document::set(&mut fields, "attestation.symmetricKey", keys)?;
        *enrollment = document::typed(fields)?;
        Ok(())
    };
    let changed = enrollments
        .modify(&id, |enrollment| {
            change(enrollment).map_err(|failure| failure.to_string())
        })
        .await?;
    show::print(&changed, rotate.show_keys, context)
}
