//! The enrollments that exist from the start.

use dps_types::HubHostname;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};

use crate::error::{Error, ErrorKind};
use crate::state::{Document, State};

/// Enrollments that are created at the start, unless the store has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seed {
    pub(crate) individuals: Vec<IndividualEnrollment>,
    pub(crate) groups: Vec<EnrollmentGroup>,
}

impl Seed {
    /// Creates what does not exist.
    pub(crate) async fn apply(&self, state: &State, linked: &[HubHostname]) -> Result<(), Error> {
        Box::pin(create(state, &self.individuals, linked)).await?;
        Box::pin(create(state, &self.groups, linked)).await
    }
}

async fn create<D: Document>(
    state: &State,
    documents: &[D],
    linked: &[HubHostname],
) -> Result<(), Error> {
    for document in documents {
        let mut document = document.clone();
        document.forget_read_only();
        let key = document.key();
        match state.put_enrollment(document, None, linked).await {
            Ok(_) => {}
            Err(error) if error.code() == D::EXISTS.0 => {}
            Err(error) => {
                let reason = format!(
                    "the {} '{key}' cannot be created at the start: {}",
                    kind::<D>(),
                    error.message()
                );
                return Err(Error::new(ErrorKind::Configuration, reason));
            }
        }
    }
    Ok(())
}

fn kind<D: Document>() -> &'static str {
    match D::IS_GROUP {
        true => "enrollment group",
        false => "enrollment",
    }
}
