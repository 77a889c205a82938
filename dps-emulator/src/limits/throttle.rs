//! The rates of an instance: which requests are counted, and by which client.

use std::sync::Arc;
use std::time::SystemTime;

use dps_types::{HubHostname, RegistrationId};

use super::rate::Rate;
use super::{HubAction, Limits};
use crate::service_error::ServiceError;
use crate::state::store::Store;

/// Counts requests and refuses those that exceed a rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    operations: Rate,
    registrations: Rate,
    polls: Rate,
    certificates: Rate,
    /// In the order of [`HubAction::ALL`].
    hubs: [Rate; HubAction::ALL.len()],
}

impl Throttle {
    /// Counts in the store, if there is one: the emulators that share it then share the rates.
    pub(crate) fn new(limits: &Limits, shared: Option<&Arc<dyn Store>>) -> Self {
        let rate = |name, most, seconds| Rate::new(name, most, seconds, shared.cloned());
        Self {
            operations: rate("operations", limits.operations_per_minute, 60),
            registrations: rate("registrations", limits.registrations_per_minute, 60),
            polls: rate("polls", limits.polls_per_10_seconds, 10),
            certificates: rate("certificates", limits.certificates_per_day, 24 * 60 * 60),
            hubs: HubAction::ALL.map(|action| {
                let most = *limits.hub_rates.clone().of(action);
                rate(action.name(), most, action.seconds())
            }),
        }
    }

    /// Removes the counts of ended windows from the store.
    pub(crate) async fn sweep(&self, now: SystemTime) -> Result<(), ServiceError> {
        let own = [
            &self.operations,
            &self.registrations,
            &self.polls,
            &self.certificates,
        ];
        for rate in own.into_iter().chain(&self.hubs) {
            rate.sweep(now).await?;
        }
        Ok(())
    }

    /// Counts a request of a service client.
    pub(crate) async fn operation(&self, now: SystemTime) -> Result<(), ServiceError> {
        self.operations.admit("", now).await
    }

    /// Counts a registration or a lookup. The service counts both alike.
    pub(crate) async fn registration(&self, now: SystemTime) -> Result<(), ServiceError> {
        self.registrations.admit("", now).await
    }

    /// Counts a poll of this device.
    pub(crate) async fn poll(&self, device: &str, now: SystemTime) -> Result<(), ServiceError> {
        self.polls.admit(device, now).await
    }

    /// Counts a certificate for the device with this registration id. Source: azure-docs, limits of Azure Device Registry.
    pub(crate) async fn certificate(
        &self,
        registration_id: &RegistrationId,
        now: SystemTime,
    ) -> Result<(), ServiceError> {
        self.certificates
            .admit(&registration_id.to_lowercase(), now)
            .await
    }

    /// Counts an operation at this hub.
    pub(crate) async fn hub(
        &self,
        action: HubAction,
        hub: &HubHostname,
        now: SystemTime,
    ) -> Result<(), ServiceError> {
        let mut all = HubAction::ALL.iter().zip(&self.hubs);
        let own = all.find(|(it, _)| **it == action);
        let rate = own.map_or(&self.hubs[0], |(_, rate)| rate);
        rate.admit(&hub.to_lowercase(), now).await
    }
}
