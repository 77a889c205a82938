//! Takes over operations: all of an earlier run, and those of other replicas that have died.

use std::sync::Arc;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Engine;
use crate::replica::{Living, Replica};
use crate::service_error::ServiceError;

impl Engine {
    /// Takes over the operations that no living replica carries out. If no other emulator uses the store, these are all
    /// operations of an earlier run.
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<(), ServiceError> {
        match &self.replica {
            None => self.take_over_unless(|_| false).await,
            Some(replica) => {
                replica.beat().await?;
                self.observe(replica, &mut replica.observer()).await
            }
        }
    }

    /// Writes heartbeats and takes over the operations of dead replicas, until the emulator stops. Returns at once if no other
    /// emulator uses the store.
    pub(crate) async fn watch(self: Arc<Self>) {
        let Some(replica) = &self.replica else {
            return;
        };
        let mut living = replica.observer();
        let mut beats = interval(replica.interval());
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = beats.tick() => {}
            }
            let watched = async {
                replica.beat().await?;
                self.observe(replica, &mut living).await
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                watched = watched => if let Err(error) = watched {
                    tracing::warn!(reason = error.message(), "the heartbeat failed; trying again");
                },
            }
        }
    }

    async fn observe(
        self: &Arc<Self>,
        replica: &Replica,
        living: &mut Living,
    ) -> Result<(), ServiceError> {
        let now = Instant::now();
        let dead = living.observe(replica.heartbeats().await?, now);
        self.take_over_unless(|id| living.includes(id, now)).await?;
        for (id, heartbeat) in dead {
            tracing::warn!(replica = id, "a replica has died");
            replica.forget(&id, &heartbeat).await?;
        }
        Ok(())
    }

    /// Takes over every operation except those of living replicas. Own operations without a task begin again.
    async fn take_over_unless(
        self: &Arc<Self>,
        lives: impl Fn(&str) -> bool,
    ) -> Result<(), ServiceError> {
        let state = &self.instance.state;
        for found in state.in_progress().await? {
            let is_own = found.replica() == &**state.replica();
            if is_own && let Some(operation) = found.operation() {
                self.begin(found.key, operation);
            } else if !lives(found.replica())
                && let Some(operation) = state.take_over(&found).await?
            {
                tracing::info!(
                    registration = found.key,
                    from = found.replica(),
                    "took an operation over"
                );
                self.begin(found.key, operation);
            }
        }
        Ok(())
    }
}
