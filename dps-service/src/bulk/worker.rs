//! Sends the requests of a bulk operation, until one fails in a way that retries do not help.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use dps_types::protocol::ApiVersion;
use dps_types::{BulkOperationMode, BulkOperationResult};

use super::results::Sent;
use crate::api_version;
use crate::client::ServiceClient;
use crate::enrollment_kind::EnrollmentKind;
use crate::error::{Error, ErrorKind};
use crate::request::Request;
use crate::retry::{Done, Repeat};

/// An item and its result.
pub(crate) type ItemResult<E> = (E, Result<(), Error>);

/// Sends the requests of one run.
pub(crate) struct Worker {
    client: ServiceClient,
    mode: BulkOperationMode,
    /// The error after which nothing more is sent.
    stopped: OnceLock<Error>,
}

impl Worker {
    pub(crate) fn new(client: ServiceClient, mode: BulkOperationMode) -> Self {
        Self {
            client,
            mode,
            stopped: OnceLock::new(),
        }
    }

    /// Carries out the operation on the items of one request. An item with a field that the api-version does not have is not
    /// sent; the others are, those that require a newer api-version in a request of their own.
    pub(crate) async fn carry_out<E: EnrollmentKind>(
        self: Arc<Self>,
        items: Vec<E>,
    ) -> Vec<ItemResult<E>> {
        let chosen = self.client.chosen_version();
        let mut results: BTreeMap<usize, ItemResult<E>> = BTreeMap::new();
        let mut by_version: BTreeMap<ApiVersion, Vec<(usize, E)>> = BTreeMap::new();
        for (index, item) in items.into_iter().enumerate() {
            match api_version::for_fields(&item.fields(), chosen) {
                Ok(version) => by_version.entry(version).or_default().push((index, item)),
                Err(error) => drop(results.insert(index, (item, Err(error)))),
            }
        }
        for (version, items) in by_version {
            let (places, items): (Vec<_>, Vec<_>) = items.into_iter().unzip();
            results.extend(places.into_iter().zip(self.send(items, version).await));
        }
        results.into_values().collect()
    }

    /// Sends the items together. If they are refused together, each is sent alone, because only one may be at fault.
    async fn send<E: EnrollmentKind>(
        &self,
        items: Vec<E>,
        version: ApiVersion,
    ) -> Vec<ItemResult<E>> {
        let (items, error) = match self.send_together(items, version).await {
            Ok(results) => return results,
            Err(failed) => failed,
        };
        if items.len() == 1 || !may_be_the_fault_of_one(&error) {
            return all(items, &error);
        }
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            let alone = self.send_together(vec![item], version).await;
            results.extend(alone.unwrap_or_else(|(items, error)| all(items, &error)));
        }
        results
    }

    /// Returns a result for each item, or the failure of the request.
    async fn send_together<E: EnrollmentKind>(
        &self,
        items: Vec<E>,
        version: ApiVersion,
    ) -> Result<Vec<ItemResult<E>>, (Vec<E>, Error)> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(error) = self.stopped.get() {
            let message = "not attempted, because an earlier request failed";
            let error = Error::new(ErrorKind::NotAttempted, message).with_source(error.clone());
            return Err((items, error));
        }
        let bulk = E::bulk(self.mode.clone(), items);
        let answered = self.ask::<E>(&bulk, version).await;
        let items = E::items(bulk);
        match answered {
            Ok(Done { value, in_doubt }) => {
                let sent = Sent {
                    items: &items,
                    mode: &self.mode,
                    in_doubt,
                };
                let results = sent.results(&value);
                Ok(items.into_iter().zip(results).collect())
            }
            Err(error) => {
                // A refusal of these items does not concern the others.
                if error.kind() != ErrorKind::Invalid {
                    let _ = self.stopped.set(error.clone());
                }
                Err((items, error))
            }
        }
    }

    async fn ask<E: EnrollmentKind>(
        &self,
        bulk: &E::Bulk,
        version: ApiVersion,
    ) -> Result<Done<BulkOperationResult>, Error> {
        let request = Request::new(E::BULK).with_api_version(version).json(bulk)?;
        let (client, deadline) = (&self.client, self.client.deadline());
        let answer = client.send_with_doubt(request, Repeat::Freely, deadline);
        let Done { value, in_doubt } = answer.await?;
        let value = value.json().map_err(|error| error.in_doubt_if(true))?;
        Ok(Done { value, in_doubt })
    }
}

/// A document that the service cannot read (400), or that is too large (413).
fn may_be_the_fault_of_one(error: &Error) -> bool {
    matches!(error.status(), Some(400 | 413))
}

/// Returns the same failure for each item.
fn all<E>(items: Vec<E>, error: &Error) -> Vec<ItemResult<E>> {
    let failed = |item| (item, Err(error.clone()));
    items.into_iter().map(failed).collect()
}
