//! The first failure of a registration, which no time limit of the test decides.

use dps_device::{Error, Event, ProvisioningClient};

/// Registers until the first failure: one that the client would retry, or the end of the registration.
pub(crate) async fn first_failure(client: &ProvisioningClient) -> Error {
    let mut events = client.register().events();
    while let Some(event) = events.next().await {
        if let Event::Retrying { error, .. } | Event::Failed(error) = event {
            return error;
        }
    }
    panic!("the registration has no failure");
}
