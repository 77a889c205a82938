//! Takes over the operations of all instances: all of an earlier run, and those of other replicas that have died.

use std::sync::Arc;
use std::time::Duration;

use dps_types::IdScope;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::Instances;
use crate::endpoint::Gateway;
use crate::replica::{Living, Replica};
use crate::service_error::ServiceError;
use crate::state::InProgress;
use crate::state::store::{Partition, Table};

/// The time between two removals of expired entries.
const SWEEP: Duration = Duration::from_secs(60);

impl Instances {
    /// Takes over the operations that no living replica carries out. If no other emulator uses the store, these are all
    /// operations of an earlier run.
    pub(crate) async fn resume(&self) -> Result<(), ServiceError> {
        match &self.blueprint.replica {
            None => {
                let found = self.in_progress().await?;
                self.take_over_unless(found, &|_| false).await;
                Ok(())
            }
            Some(replica) => {
                replica.beat().await?;
                self.observe(replica, &mut replica.observer()).await
            }
        }
    }

    /// Writes heartbeats until the emulator stops. Returns at once if no other emulator uses the store. The take-over has a task of
    /// its own, so that much work does not delay the heartbeat.
    pub(crate) async fn beat(self: Arc<Self>) {
        let Some(replica) = &self.blueprint.replica else {
            return;
        };
        let mut beats = beats(replica);
        loop {
            let beat = async {
                beats.tick().await;
                replica.beat().await
            };
            match self.blueprint.stop.run_until_cancelled(beat).await {
                Some(beat) => log(beat.map_err(ServiceError::from)),
                None => return,
            }
        }
    }

    /// Takes over the operations of dead replicas, until the emulator stops. Returns at once if no other emulator uses the store.
    pub(crate) async fn watch(self: Arc<Self>) {
        let Some(replica) = &self.blueprint.replica else {
            return;
        };
        let mut living = replica.observer();
        let mut next_sweep = Instant::now() + SWEEP;
        let mut beats = beats(replica);
        loop {
            let watch = async {
                beats.tick().await;
                self.observe(replica, &mut living).await?;
                if Instant::now() >= next_sweep {
                    next_sweep = Instant::now() + SWEEP;
                    self.sweep().await?;
                }
                Ok(())
            };
            match self.blueprint.stop.run_until_cancelled(watch).await {
                Some(watched) => log(watched),
                None => return,
            }
        }
    }

    async fn observe(&self, replica: &Replica, living: &mut Living) -> Result<(), ServiceError> {
        // The heartbeats are read after the operations: a replica whose operation was read had written its heartbeat before.
        let found = self.in_progress().await?;
        let dead = living.observe(replica.heartbeats().await?);
        self.take_over_unless(found, &|id| living.includes(id))
            .await;
        for (id, heartbeat) in dead {
            tracing::warn!(replica = id, "a replica has died");
            replica.forget(&id, &heartbeat).await?;
        }
        Ok(())
    }

    /// The operations in progress. Only the instances with operations are assembled.
    async fn in_progress(&self) -> Result<Vec<(Arc<Gateway>, Vec<InProgress>)>, ServiceError> {
        let mut gateways = vec![Arc::clone(self.first())];
        for id_scope in Partition::owners(self.store(), Table::Operations).await? {
            match self.of_id_scope(&id_scope).await {
                Ok(gateway) => gateways.extend(gateway),
                Err(error) => {
                    tracing::error!(%id_scope, reason = error.message(), "an instance cannot be opened");
                }
            }
        }
        let mut found = Vec::with_capacity(gateways.len());
        for gateway in gateways {
            let of_instance = gateway.instance.state.in_progress().await?;
            found.push((gateway, of_instance));
        }
        Ok(found)
    }

    /// Takes over these operations except those of living replicas. One that cannot be taken over does not prevent the others.
    async fn take_over_unless(
        &self,
        found: Vec<(Arc<Gateway>, Vec<InProgress>)>,
        lives: &(dyn Fn(&str) -> bool + Sync),
    ) {
        for (gateway, found) in found {
            for operation in found {
                let key = operation.key.clone();
                if let Err(error) = gateway.engine.take_over_unless(operation, lives).await {
                    tracing::error!(
                        registration = key,
                        reason = error.message(),
                        "an operation cannot be taken over; trying again"
                    );
                }
            }
        }
    }

    /// Removes expired entries from the store. Only the instances with rates or challenges are assembled.
    async fn sweep(&self) -> Result<(), ServiceError> {
        self.first.engine.sweep().await?;
        let mut owners = Partition::owners(self.store(), Table::Rates).await?;
        owners.extend(Partition::owners(self.store(), Table::Challenges).await?);
        owners.sort_unstable_by_key(IdScope::to_lowercase);
        owners.dedup();
        for id_scope in owners {
            if let Some(gateway) = self.of_id_scope(&id_scope).await? {
                gateway.engine.sweep().await?;
            }
        }
        Ok(())
    }
}

/// Ticks at the times of heartbeats.
fn beats(replica: &Replica) -> Interval {
    let mut beats = interval(replica.interval());
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

fn log(result: Result<(), ServiceError>) {
    if let Err(error) = result {
        let reason = error.message();
        tracing::warn!(
            reason,
            "the store that emulators share failed; trying again"
        );
    }
}
