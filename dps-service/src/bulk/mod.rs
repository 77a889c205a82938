//! Bulk operations: the same operation on many enrollments, ten per request, with an outcome for each item.

mod outcome;
mod results;
mod worker;

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use dps_types::BulkOperationMode;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};

use self::worker::{ItemResult, Worker};
use crate::client::ServiceClient;
use crate::enrollment_kind::EnrollmentKind;
#[cfg(doc)]
use crate::error::{Error, ErrorKind};

pub use outcome::{BulkOutcome, BulkProgress, BulkReport};

/// A bulk operation that has not started. Created by [`Enrollments::bulk`](crate::Enrollments::bulk).
///
/// Each request contains at most ten enrollments, and each of them succeeds or fails independently: if the service refuses
/// the whole request (400, 413), its items are sent again one by one. The modes are:
///
/// * `Create`: an enrollment that exists is an [`ErrorKind::Conflict`].
/// * `Update` and `UpdateIfMatchETag`: replace the enrollment if its version is the item's `etag`. In `Update`, `*` means
///   any version; without an `etag` the service reports an [`ErrorKind::Conflict`].
/// * `Delete`: delete the enrollment; if the item has an `etag`, only that version.
///
/// Requests are retried as described in the [crate's documentation](crate#timeouts-and-retries), also after a lost answer,
/// because an item cannot be created twice. If a retry finds that an earlier attempt has already changed an item, the item
/// is reported as [`ErrorKind::Conflict`] or [`ErrorKind::PreconditionFailed`] with [`Error::is_in_doubt`]; an item that is
/// already deleted is a success.
///
/// ```no_run
/// # async fn example(dps: dps_service::ServiceClient) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_types::{BulkOperationMode, SymmetricKey};
/// use dps_types::enrollment::IndividualEnrollment;
///
/// let mut devices = Vec::new();
/// for number in 1..=25 {
///     let (id, key) = (format!("toaster-{number}").parse()?, SymmetricKey::generate());
///     devices.push(IndividualEnrollment::from_keys(id, &key, &SymmetricKey::generate()));
/// }
/// let report = dps.individual_enrollments().bulk(BulkOperationMode::Create).run(devices).finish().await;
/// for failed in &report.failed {
///     eprintln!("{}: {:?}", failed.item.registration_id, failed.result);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Bulk<E> {
    client: ServiceClient,
    mode: BulkOperationMode,
    concurrency: usize,
    kind: PhantomData<fn() -> E>,
}

impl<E: EnrollmentKind> Bulk<E> {
    /// The most items in a request. Source: documentation of the service SDKs.
    pub const MAX_ITEMS: usize = 10;
    /// The default number of concurrent requests.
    pub const DEFAULT_CONCURRENCY: usize = 4;

    pub(crate) fn new(client: ServiceClient, mode: BulkOperationMode) -> Self {
        Self {
            client,
            mode,
            concurrency: Self::DEFAULT_CONCURRENCY,
            kind: PhantomData,
        }
    }

    /// Sets the number of concurrent requests; at least one. An instance accepts 1,000 operations per minute.
    #[must_use]
    pub fn with_concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// Runs the operation on these items. The iterator is read as the items are needed.
    pub fn run<'s>(
        &self,
        items: impl IntoIterator<Item = E, IntoIter: Send + 's>,
    ) -> BulkRun<'s, E> {
        self.run_stream(stream::iter(items))
    }

    /// Runs the operation on the items of a stream. The stream is read as the items are needed.
    pub fn run_stream<'s>(&self, items: impl Stream<Item = E> + Send + 's) -> BulkRun<'s, E> {
        let worker = Arc::new(Worker::new(self.client.clone(), self.mode.clone()));
        let results = items
            .chunks(Self::MAX_ITEMS)
            .map(move |items| Arc::clone(&worker).carry_out(items))
            .buffered(self.concurrency)
            .flat_map(stream::iter);
        BulkRun {
            results: Box::pin(results),
            progress: BulkProgress::default(),
        }
    }
}

/// A running bulk operation: a [`Stream`] of outcomes, one for each item, in the order of the items.
///
/// If a request fails, not because of its items, and retries do not help, no further request is sent: the remaining items
/// are reported as [`ErrorKind::NotAttempted`]. All items that were not [refused](BulkOutcome::is_refused) can be passed to
/// another run. Dropping the run cancels its requests.
///
/// ```no_run
/// # async fn run(dps: dps_service::ServiceClient, devices: Vec<dps_types::enrollment::IndividualEnrollment>) {
/// use dps_types::BulkOperationMode;
///
/// let mut run = dps.individual_enrollments().bulk(BulkOperationMode::Create).run(devices);
/// while let Some(outcome) = run.next().await {
///     if let Err(error) = outcome.result {
///         println!("{}: {error}", outcome.item.registration_id);
///     }
///     println!("{} enrolled", run.progress().succeeded);
/// }
/// # }
/// ```
#[must_use = "nothing is done before the first outcome is requested"]
pub struct BulkRun<'s, E> {
    results: BoxStream<'s, ItemResult<E>>,
    progress: BulkProgress,
}

impl<E: Unpin> BulkRun<'_, E> {
    /// Returns the outcome of the next item; `None` after the last one.
    pub async fn next(&mut self) -> Option<BulkOutcome<E>> {
        StreamExt::next(self).await
    }

    /// Returns the number of outcomes so far.
    pub fn progress(&self) -> BulkProgress {
        self.progress
    }

    /// Runs to the end, and collects the outcomes of the items that failed.
    pub async fn finish(mut self) -> BulkReport<E> {
        let mut failed = Vec::new();
        while let Some(outcome) = self.next().await {
            if outcome.result.is_err() {
                failed.push(outcome);
            }
        }
        BulkReport {
            succeeded: self.progress.succeeded,
            failed,
        }
    }
}

impl<E: Unpin> Stream for BulkRun<'_, E> {
    type Item = BulkOutcome<E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((item, result)) = ready!(self.results.as_mut().poll_next(context)) else {
            return Poll::Ready(None);
        };
        let progress = &mut self.progress;
        let index = progress.succeeded + progress.failed;
        match &result {
            Ok(()) => progress.succeeded += 1,
            Err(_) => progress.failed += 1,
        }
        Poll::Ready(Some(BulkOutcome {
            index,
            item,
            result,
        }))
    }
}

impl<E> fmt::Debug for BulkRun<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkRun")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}
