//! Takes over the operations of an instance: those of an earlier run, and those of replicas that have died.

use std::sync::Arc;

use super::Engine;
use crate::service_error::ServiceError;
use crate::state::InProgress;

impl Engine {
    /// Takes an operation over, unless its replica lives. An own operation without a task begins again.
    pub(crate) async fn take_over_unless(
        self: &Arc<Self>,
        found: InProgress,
        lives: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<(), ServiceError> {
        let state = &self.instance.state;
        let is_own = found.replica() == &**state.replica();
        if is_own && let Some(operation) = found.operation() {
            self.begin(found.key, operation);
        } else if !lives(found.replica())
            && let Some(operation) = state.take_over(&found).await?
        {
            let (registration, from) = (&found.key, found.replica());
            tracing::info!(registration, from, "took an operation over");
            self.begin(found.key, operation);
        }
        Ok(())
    }

    /// Removes expired rates and challenges from a store that other emulators share.
    pub(crate) async fn sweep(&self) -> Result<(), ServiceError> {
        self.instance.throttle.sweep(self.now()).await?;
        self.challenges.sweep(self.now()).await
    }
}
