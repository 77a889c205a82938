//! Takes over the operations of all instances: all of an earlier run, and those of other replicas that have died.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Instances;
use crate::replica::{Living, Replica};
use crate::service_error::ServiceError;
use crate::state::store::{Partition, Table};

/// The time between two removals of what has expired in the store.
const SWEEP: Duration = Duration::from_secs(60);

impl Instances {
    /// Takes over the operations that no living replica carries out. If no other emulator uses the store, these are all
    /// operations of an earlier run.
    pub(crate) async fn resume(&self) -> Result<(), ServiceError> {
        match &self.blueprint.replica {
            None => self.take_over_unless(&|_| false).await,
            Some(replica) => {
                replica.beat().await?;
                self.observe(replica, &mut replica.observer()).await
            }
        }
    }

    /// Writes heartbeats and takes over the operations of dead replicas, until the emulator stops. Returns at once if no other
    /// emulator uses the store.
    pub(crate) async fn watch(self: Arc<Self>) {
        let Some(replica) = &self.blueprint.replica else {
            return;
        };
        let stop = &self.blueprint.stop;
        let mut living = replica.observer();
        let mut beats = interval(replica.interval());
        let mut next_sweep = Instant::now() + SWEEP;
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = beats.tick() => {}
            }
            let watched = async {
                replica.beat().await?;
                self.observe(replica, &mut living).await?;
                if Instant::now() >= next_sweep {
                    next_sweep = Instant::now() + SWEEP;
                    self.sweep().await?;
                }
                Ok::<(), ServiceError>(())
            };
            tokio::select! {
                () = stop.cancelled() => return,
                watched = watched => if let Err(error) = watched {
                    tracing::warn!(reason = error.message(), "the heartbeat failed; trying again");
                },
            }
        }
    }

    async fn observe(&self, replica: &Replica, living: &mut Living) -> Result<(), ServiceError> {
        let now = Instant::now();
        let dead = living.observe(replica.heartbeats().await?, now);
        self.take_over_unless(&|id| living.includes(id, now))
            .await?;
        for (id, heartbeat) in dead {
            tracing::warn!(replica = id, "a replica has died");
            replica.forget(&id, &heartbeat).await?;
        }
        Ok(())
    }

    /// Takes over every operation except those of living replicas. Only the instances with operations are assembled.
    async fn take_over_unless(
        &self,
        lives: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<(), ServiceError> {
        self.first.engine.take_over_unless(lives).await?;
        for id_scope in Partition::owners(self.store(), Table::Operations).await? {
            let taken = async {
                match self.of_id_scope(&id_scope).await? {
                    Some(gateway) => gateway.engine.take_over_unless(lives).await,
                    None => Ok(()),
                }
            };
            // One that cannot be used must not stop the others.
            if let Err(error) = taken.await {
                tracing::error!(%id_scope, reason = error.reason(), "the operations of an instance were not taken over");
            }
        }
        Ok(())
    }

    /// Removes what has expired. Only the instances with such entries are assembled.
    async fn sweep(&self) -> Result<(), ServiceError> {
        self.first.engine.sweep().await?;
        let mut owners = Partition::owners(self.store(), Table::Rates).await?;
        owners.extend(Partition::owners(self.store(), Table::Challenges).await?);
        owners.dedup();
        for id_scope in owners {
            if let Some(gateway) = self.of_id_scope(&id_scope).await? {
                gateway.engine.sweep().await?;
            }
        }
        Ok(())
    }
}
