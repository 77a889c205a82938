//! Reset: removes everything, or some kinds.

use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use serde::Deserialize;

use super::Control;
use super::reply::{self, Answer, Failure};
use super::request::{Ask, BODY_LIMIT};
use crate::state::store::Table;

/// The kinds of state that can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Enrollments,
    EnrollmentGroups,
    Registrations,
    /// The devices of the hubs, with their twins.
    Hubs,
    Certificates,
    Faults,
    Exchanges,
    Clock,
}

const ALL: [Kind; 8] = [
    Kind::Enrollments,
    Kind::EnrollmentGroups,
    Kind::Registrations,
    Kind::Hubs,
    Kind::Certificates,
    Kind::Faults,
    Kind::Exchanges,
    Kind::Clock,
];

/// The kinds to remove; all kinds if the list is empty.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reset {
    kinds: Option<Vec<Kind>>,
}

/// `POST /reset`. The enrollments of the configuration exist again afterwards.
pub(super) async fn answer(control: &Control, ask: Ask) -> Answer {
    let Reset { kinds } = ask.json(BODY_LIMIT).await?;
    let kinds = kinds.unwrap_or_else(|| ALL.to_vec());
    let instance = &control.gateway.instance;
    let state = &instance.state;
    for kind in kinds {
        match kind {
            Kind::Enrollments => state.clear_enrollments::<IndividualEnrollment>().await?,
            Kind::EnrollmentGroups => state.clear_enrollments::<EnrollmentGroup>().await?,
            Kind::Registrations => state.clear_registrations().await?,
            Kind::Hubs => instance.hubs.remove_all().await?,
            Kind::Certificates => state.clear(Table::CaCertificates).await?,
            Kind::Faults => {
                let _sharing = control.sharing.lock().await;
                control.gateway.faults.clear_shared().await?;
                control.inform();
            }
            Kind::Exchanges => control.journal.clear(),
            Kind::Clock => {
                let _sharing = control.sharing.lock().await;
                control.clock.reset();
                control.share_clock().await?;
            }
        }
    }
    let linked = instance.allocator.hub_names();
    let seeded = Box::pin(control.seed.apply(state, &linked)).await;
    seeded.map_err(Failure::from)?;
    reply::no_content()
}
