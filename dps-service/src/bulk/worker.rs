//! Carries out the requests of a bulk run, until one fails for good.

use std::sync::{Arc, OnceLock};

use dps_types::{BulkOperationMode, BulkOperationResult};

use super::verdict::Sent;
use crate::api_version;
use crate::client::ServiceClient;
use crate::error::{Error, ErrorKind};
use crate::kind::EnrollmentKind;
use crate::request::Request;
use crate::retry::{Done, Repeat};

/// An item, and whether it was carried out.
pub(crate) type Settled<E> = (E, Result<(), Error>);

/// What sends the requests of a run.
pub(crate) struct Worker {
    client: ServiceClient,
    mode: BulkOperationMode,
    /// Why nothing more is sent.
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

    /// Does it to these items, which fit into one request. What the api-version does not know is not sent, and does not
    /// hold up the others.
    pub(crate) async fn carry_out<E: EnrollmentKind>(
        self: Arc<Self>,
        items: Vec<E>,
    ) -> Vec<Settled<E>> {
        let version = self.client.api_version();
        let check = |item: &E| api_version::check_fields(&item.fields(), version);
        let checks: Vec<Result<(), Error>> = items.iter().map(check).collect();
        let mut known = checks.iter().map(Result::is_ok);
        let (fit, unfit): (Vec<E>, Vec<E>) = items
            .into_iter()
            .partition(|_| known.next().unwrap_or_default());
        let mut sent = self.send(fit).await.into_iter();
        let mut unfit = unfit.into_iter();
        checks
            .into_iter()
            .filter_map(|check| match check {
                Ok(()) => sent.next(),
                Err(error) => Some((unfit.next()?, Err(error))),
            })
            .collect()
    }

    /// Items that are refused together go out again, each alone: the fault may be that of one.
    async fn send<E: EnrollmentKind>(&self, items: Vec<E>) -> Vec<Settled<E>> {
        let (items, error) = match self.send_together(items).await {
            Ok(settled) => return settled,
            Err(failed) => failed,
        };
        if items.len() == 1 || !may_be_the_fault_of_one(&error) {
            return all(items, &error);
        }
        let mut settled = Vec::with_capacity(items.len());
        for item in items {
            let alone = self.send_together(vec![item]).await;
            settled.extend(alone.unwrap_or_else(|(items, error)| all(items, &error)));
        }
        settled
    }

    /// A result for each item, or the failure of the request.
    async fn send_together<E: EnrollmentKind>(
        &self,
        items: Vec<E>,
    ) -> Result<Vec<Settled<E>>, (Vec<E>, Error)> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(error) = self.stopped.get() {
            let what = "not attempted, since an earlier request failed";
            let error = Error::new(ErrorKind::NotAttempted, what).with_source(error.clone());
            return Err((items, error));
        }
        let bulk = E::bulk(self.mode.clone(), items);
        let answered = self.ask::<E>(&bulk).await;
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
                // A refusal of these items says nothing of the others.
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
    ) -> Result<Done<BulkOperationResult>, Error> {
        let request = Request::new(E::BULK).json(bulk)?;
        let (client, deadline) = (&self.client, self.client.deadline());
        let answer = client.send_telling_doubt(request, Repeat::Freely, deadline);
        let Done { value, in_doubt } = answer.await?;
        let value = value.json().map_err(|error| error.in_doubt_if(true))?;
        Ok(Done { value, in_doubt })
    }
}

/// A document that the service cannot read (400), or too much of it (413).
fn may_be_the_fault_of_one(error: &Error) -> bool {
    matches!(error.status(), Some(400 | 413))
}

/// The same failure for each.
fn all<E>(items: Vec<E>, error: &Error) -> Vec<Settled<E>> {
    let failed = |item| (item, Err(error.clone()));
    items.into_iter().map(failed).collect()
}
