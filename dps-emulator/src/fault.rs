//! Faults on request: the next request of a device is throttled, fails, is lost, or stays without an answer.
//!
//! They sit between wire and engine, so that every transport has them alike.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dps_types::ErrorCode;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::service_error::ServiceError;

/// What a device is about to do when a fault meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// It has a TLS connection, to either port, and nothing was said yet. An operator's connection counts as well.
    Connect,
    /// It asks to be registered. A device with a TPM asks twice over HTTPS, for its challenge and with the answer: that
    /// counts as two. To meet the second alone, let the first pass with a [`Delay`](Effect::Delay) of no time.
    Register,
    /// It asks how far its registration is.
    Poll,
}

/// What goes wrong.
///
/// At [`Step::Connect`] there is nothing yet to answer or to carry out: every effect but [`Delay`](Self::Delay)
/// and [`Silence`](Self::Silence) cuts the connection there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// 429 with error code 429001, the request is not carried out.
    Throttle {
        /// What `Retry-After` asks the device to wait, in whole seconds.
        retry_after: Duration,
    },
    /// The service fails with this status, 500 to 599; the request is not carried out. Another status is taken as 500.
    Fail(u16),
    /// The connection is cut before the request is carried out.
    Drop,
    /// The request is carried out, and the connection is cut before the answer, whatever it was to be.
    DropAfter,
    /// The request waits for this long, then all goes its way.
    Delay(Duration),
    /// The answer has status 200 and is no JSON; the request is not carried out.
    Malformed,
    /// The request is not carried out, and there is no answer. The connection stays open.
    Silence,
}

/// Something that goes wrong at a step, once or several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    step: Step,
    effect: Effect,
    times: usize,
}

impl Fault {
    /// Goes wrong once.
    pub fn new(step: Step, effect: Effect) -> Self {
        Self {
            step,
            effect,
            times: 1,
        }
    }

    /// Goes wrong so many times in a row. Nothing happens with 0.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }
}

/// The faults to come, for tests of devices. Clones share them.
///
/// A fault meets the next request of its step, of any device over any transport, and is used up by it.
/// Those of the same step come in the order in which they were asked for.
///
/// ```
/// use std::time::Duration;
/// use dps_emulator::{Effect, Emulator, Fault, Step};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), dps_emulator::Error> {
/// let dps = Emulator::builder().start().await?;
/// let retry_after = Duration::from_secs(7);
/// dps.faults().next(Fault::new(Step::Register, Effect::Throttle { retry_after }).times(2));
/// dps.faults().next(Fault::new(Step::Poll, Effect::DropAfter));
///
/// // Here a device registers, and has to try again.
///
/// assert_eq!(dps.faults().pending(), 3);
/// dps.faults().clear();
/// # dps.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Faults(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Mutex<VecDeque<Fault>>,
    /// How many are in the queue: so that a request that meets none takes no lock.
    pending: AtomicUsize,
    met: Notify,
    stop: CancellationToken,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Met<T> {
    Done(T),
    /// Answer with 200 and [`NOT_JSON`].
    Malformed,
    /// Never answer.
    Silence,
    /// Cut the connection.
    Cut,
}

/// The answer of a fault that is no document.
pub(crate) const NOT_JSON: &[u8] = b"<html>Not what you are looking for.</html>";

impl Faults {
    /// Adds a fault to those to come.
    pub fn next(&self, fault: Fault) {
        let mut queue = self.queue();
        queue.push_back(fault);
        self.count(&queue);
    }

    /// How many times something will still go wrong.
    pub fn pending(&self) -> usize {
        self.0.pending.load(Ordering::Acquire)
    }

    /// Waits until every fault has met its request; the effect of the last may still go on.
    pub async fn used_up(&self) {
        loop {
            let mut met = pin!(self.0.met.notified());
            met.as_mut().enable();
            if self.pending() == 0 {
                return;
            }
            met.await;
        }
    }

    /// Forgets those to come.
    pub fn clear(&self) {
        let mut queue = self.queue();
        queue.clear();
        self.count(&queue);
    }

    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            queue: Mutex::default(),
            pending: AtomicUsize::new(0),
            met: Notify::new(),
            stop,
        }))
    }

    /// Carries a request out, unless a fault is in its way.
    pub(crate) async fn meet<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<Met<T>, ServiceError> {
        let Some(effect) = self.take(step) else {
            return work.await.map(Met::Done);
        };
        tracing::debug!(?step, ?effect, "a fault that was asked for");
        match effect {
            Effect::Throttle { retry_after } => Err(ServiceError::new(
                ErrorCode::THROTTLED,
                "A fault that was asked for.",
            )
            .with_retry_after(retry_after.as_secs())),
            Effect::Fail(status) => {
                let status = match status {
                    500..600 => status,
                    _ => 500,
                };
                let code = ErrorCode::new(u32::from(status) * 1000);
                Err(ServiceError::new(code, "A fault that was asked for."))
            }
            Effect::Drop => Ok(Met::Cut),
            Effect::DropAfter => {
                let _ = work.await;
                Ok(Met::Cut)
            }
            Effect::Delay(delay) => tokio::select! {
                () = self.stopped() => Ok(Met::Cut),
                () = tokio::time::sleep(delay) => work.await.map(Met::Done),
            },
            Effect::Malformed => Ok(Met::Malformed),
            Effect::Silence => Ok(Met::Silence),
        }
    }

    /// Waits until the emulator stops: so long is a silence at most.
    pub(crate) async fn stopped(&self) {
        self.0.stop.cancelled().await;
    }

    fn take(&self, step: Step) -> Option<Effect> {
        if self.pending() == 0 {
            return None;
        }
        let mut queue = self.queue();
        let index = queue
            .iter()
            .position(|fault| fault.step == step && fault.times > 0)?;
        let fault = &mut queue[index];
        fault.times -= 1;
        let Fault { effect, times, .. } = *fault;
        if times == 0 {
            queue.remove(index);
        }
        self.count(&queue);
        Some(effect)
    }

    fn count(&self, queue: &VecDeque<Fault>) {
        // Saturating: "always" is written as `usize::MAX` times, perhaps at several steps.
        let pending = queue
            .iter()
            .fold(0, |sum: usize, fault| sum.saturating_add(fault.times));
        self.0.pending.store(pending, Ordering::Release);
        self.0.met.notify_waiters();
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Fault>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults() -> Faults {
        Faults::new(CancellationToken::new())
    }

    async fn register(faults: &Faults) -> Result<Met<&'static str>, ServiceError> {
        faults.meet(Step::Register, async { Ok("done") }).await
    }

    #[tokio::test]
    async fn without_a_fault_all_goes_its_way() {
        assert_eq!(register(&faults()).await, Ok(Met::Done("done")));
    }

    #[tokio::test]
    async fn each_meets_its_step_so_many_times_and_in_order() {
        let faults = faults();
        faults.next(Fault::new(Step::Poll, Effect::Malformed));
        faults.next(Fault::new(Step::Register, Effect::Drop).times(2));
        faults.next(Fault::new(Step::Register, Effect::Silence));
        faults.next(Fault::new(Step::Register, Effect::Malformed).times(0));
        assert_eq!(faults.pending(), 4);

        assert_eq!(register(&faults).await, Ok(Met::Cut));
        assert_eq!(register(&faults).await, Ok(Met::Cut));
        assert_eq!(register(&faults).await, Ok(Met::Silence));
        assert_eq!(register(&faults).await, Ok(Met::Done("done")));
        assert_eq!(faults.pending(), 1);

        let used_up = faults.clone();
        let waiting = tokio::spawn(async move { used_up.used_up().await });
        let poll = faults.meet(Step::Poll, async { Ok(()) }).await;
        assert_eq!(poll, Ok(Met::Malformed));
        waiting.await.expect("every fault was met");
    }

    #[tokio::test]
    async fn two_may_go_wrong_always() {
        let faults = faults();
        for step in [Step::Register, Step::Poll] {
            faults.next(Fault::new(step, Effect::Drop).times(usize::MAX));
        }
        assert_eq!(faults.pending(), usize::MAX);
        assert_eq!(register(&faults).await, Ok(Met::Cut));
        assert_eq!(register(&faults).await, Ok(Met::Cut));
    }

    #[tokio::test]
    async fn refusals_say_what_was_asked_for() {
        let faults = faults();
        let retry_after = Duration::from_secs(7);
        faults.next(Fault::new(Step::Register, Effect::Throttle { retry_after }));
        for status in [503, 200] {
            faults.next(Fault::new(Step::Register, Effect::Fail(status)));
        }
        let throttled = register(&faults).await.unwrap_err();
        assert_eq!(
            (throttled.code(), throttled.retry_after_seconds),
            (ErrorCode::THROTTLED, Some(7))
        );
        assert_eq!(register(&faults).await.unwrap_err().status(), 503);
        assert_eq!(register(&faults).await.unwrap_err().status(), 500);
    }

    #[tokio::test]
    async fn only_a_drop_after_carries_the_request_out() {
        let faults = faults();
        let mut done = 0;
        for effect in [
            Effect::Drop,
            Effect::DropAfter,
            Effect::Silence,
            Effect::Fail(500),
        ] {
            faults.next(Fault::new(Step::Poll, effect));
            let work = async {
                done += 1;
                Ok(())
            };
            let _ = faults.meet(Step::Poll, work).await;
        }
        assert_eq!(done, 1);
    }

    #[tokio::test]
    async fn a_delay_ends_with_the_emulator() {
        let faults = faults();
        let delay = Effect::Delay(Duration::from_millis(1));
        faults.next(Fault::new(Step::Register, delay));
        assert_eq!(register(&faults).await, Ok(Met::Done("done")));
        faults.next(Fault::new(
            Step::Register,
            Effect::Delay(Duration::from_secs(3600)),
        ));
        faults.0.stop.cancel();
        assert_eq!(register(&faults).await, Ok(Met::Cut));
    }
}
