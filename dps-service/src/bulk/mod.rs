//! The same for many enrollments: cut into tens, several requests at a time, an outcome for each item.

mod outcome;
mod verdict;
mod worker;

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use dps_types::BulkOperationMode;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};

use self::worker::{Settled, Worker};
use crate::client::ServiceClient;
#[cfg(doc)]
use crate::error::{Error, ErrorKind};
use crate::kind::EnrollmentKind;

pub use outcome::{BulkOutcome, BulkProgress, BulkReport};

/// A bulk operation that is about to begin. Made by [`Enrollments::bulk`](crate::Enrollments::bulk).
///
/// Each request does the same to ten enrollments at most, and each of those succeeds or fails alone: where the service
/// refuses the whole request (400, 413), its items are sent again one by one. The modes:
///
/// * `Create`: an enrollment that exists is a [`ErrorKind::Conflict`].
/// * `Update` and `UpdateIfMatchETag`: replace under the condition of the item's own `etag`; `*` in `Update` stands for
///   any version, and without an `etag` the service reports a [`ErrorKind::Conflict`].
/// * `Delete`: the `etag` is a condition where there is one.
///
/// Requests are repeated as the [crate's documentation](crate#waiting-and-repeating) tells, also after a lost answer: an
/// item cannot be created twice. What such a repetition finds done already is reported as it is, a
/// [`ErrorKind::Conflict`] or [`ErrorKind::PreconditionFailed`] with [`Error::is_in_doubt`]; what is gone is deleted.
#[derive(Clone, Debug)]
pub struct Bulk<E> {
    client: ServiceClient,
    mode: BulkOperationMode,
    at_a_time: usize,
    kind: PhantomData<fn() -> E>,
}

impl<E: EnrollmentKind> Bulk<E> {
    /// The most items in a request. Source: documentation of the service SDKs.
    pub const LARGEST_REQUEST: usize = 10;
    /// How many requests are on their way at a time, unless [`Bulk::with_concurrency`] says otherwise.
    pub const DEFAULT_CONCURRENCY: usize = 4;

    pub(crate) fn new(client: ServiceClient, mode: BulkOperationMode) -> Self {
        Self {
            client,
            mode,
            at_a_time: Self::DEFAULT_CONCURRENCY,
            kind: PhantomData,
        }
    }

    /// How many requests may be on their way at a time; at least one. An instance takes 1,000 operations a minute.
    #[must_use]
    pub fn with_concurrency(mut self, requests: usize) -> Self {
        self.at_a_time = requests.max(1);
        self
    }

    /// Does it to these items, which are taken as they are needed.
    pub fn run<'s>(
        &self,
        items: impl IntoIterator<Item = E, IntoIter: Send + 's>,
    ) -> BulkRun<'s, E> {
        self.run_stream(stream::iter(items))
    }

    /// Does it to the items of a stream, which are taken as they are needed.
    pub fn run_stream<'s>(&self, items: impl Stream<Item = E> + Send + 's) -> BulkRun<'s, E> {
        let worker = Arc::new(Worker::new(self.client.clone(), self.mode.clone()));
        let results = items
            .chunks(Self::LARGEST_REQUEST)
            .map(move |items| Arc::clone(&worker).carry_out(items))
            .buffered(self.at_a_time)
            .flat_map(stream::iter);
        BulkRun {
            results: Box::pin(results),
            progress: BulkProgress::default(),
        }
    }
}

/// A bulk operation on its way: a [`Stream`] of outcomes, one for each item, in the order in which they were given.
///
/// When a request fails for good, and not for what its items are, no further one is sent: the items that are left come
/// back as [`ErrorKind::NotAttempted`]. All but those that were [refused](BulkOutcome::is_refused) can be given to
/// another run. Dropping the run ends its requests.
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
#[must_use = "nothing is done before the first outcome is asked for"]
pub struct BulkRun<'s, E> {
    results: BoxStream<'s, Settled<E>>,
    progress: BulkProgress,
}

impl<E: Unpin> BulkRun<'_, E> {
    /// The outcome of the next item; `None` after the last.
    pub async fn next(&mut self) -> Option<BulkOutcome<E>> {
        StreamExt::next(self).await
    }

    /// How many outcomes were handed out so far.
    pub fn progress(&self) -> BulkProgress {
        self.progress
    }

    /// Runs to the end, and keeps what failed.
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
