//! Fault injection: the next request of a device is throttled, fails, is lost, or has no answer.
//!
//! Faults are applied between transport and engine, so that they are the same for every transport.

mod document;
mod rule;
#[cfg(feature = "control")]
mod shared;

use std::collections::VecDeque;
use std::pin::pin;
#[cfg(feature = "control")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dps_types::ErrorCode;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use rule::{Effect, Fault, Step};

use crate::random::Random;
use crate::service_error::ServiceError;
#[cfg(feature = "control")]
use crate::state::store::Store;
use crate::state::store::StoreError;

/// The queue of faults, for tests of devices. Clones share it.
///
/// A fault is applied to the next request of its step, over any transport and of any device that it is for, and is then used up.
/// Faults of the same step are applied in the order in which they were added.
///
/// ```
/// use std::time::Duration;
/// use dps_emulator::Emulator;
/// use dps_emulator::fault::{Effect, Fault, Step};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), dps_emulator::Error> {
/// let dps = Emulator::builder().start().await?;
/// let retry_after = Duration::from_secs(7);
/// dps.faults().next(Fault::new(Step::Register, Effect::Throttle { retry_after }).times(2));
/// dps.faults().next(Fault::new(Step::Poll, Effect::DropAfter));
///
/// // A device that registers here has to retry.
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
    queue: Mutex<VecDeque<Rule>>,
    random: Random,
    /// The number of faults that were ever added.
    added: AtomicU64,
    /// The number of faults in the queue, so that a request without a fault needs no lock.
    pending: AtomicUsize,
    applied: Notify,
    stop: CancellationToken,
    /// The store that other emulators share.
    #[cfg(feature = "control")]
    store: OnceLock<Arc<dyn Store>>,
}

/// A fault in the queue.
#[derive(Debug)]
struct Rule {
    id: u64,
    fault: Fault,
    /// The number of times that it was applied at all emulators that this one knows of, if they share it.
    #[cfg(feature = "control")]
    uses: Option<usize>,
}

/// A fault that a request has taken from the queue.
struct Taken {
    step: Step,
    effect: Effect,
    #[cfg(feature = "control")]
    id: u64,
    /// The number of the time that it must claim, if other emulators share the fault.
    #[cfg(feature = "control")]
    claim: Option<usize>,
}

/// The result of a request that a fault may have changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FaultOutcome<T> {
    Done(T),
    /// Answer with 200 and [`NOT_JSON`].
    Malformed,
    /// Never answer.
    Silence,
    /// Close the connection.
    Cut,
}

/// The body of [`Effect::Malformed`].
pub(crate) const NOT_JSON: &[u8] = b"<html>Not what you are looking for.</html>";

/// The message of the errors that faults cause.
const MESSAGE: &str = "An injected fault.";

impl Faults {
    /// Adds a fault to the queue, and returns its id.
    pub fn next(&self, fault: Fault) -> u64 {
        let mut queue = self.queue();
        let id = self.0.added.fetch_add(1, Ordering::Relaxed) + 1;
        queue.push_back(Rule {
            id,
            fault,
            #[cfg(feature = "control")]
            uses: None,
        });
        self.count(&queue);
        id
    }

    /// The faults in the queue with their ids, each with the number of times that it will still happen.
    pub fn list(&self) -> Vec<(u64, Fault)> {
        let queue = self.queue();
        let rules = queue.iter().filter(|rule| rule.fault.times > 0);
        rules.map(|rule| (rule.id, rule.fault.clone())).collect()
    }

    /// Removes a fault from the queue; false if it is not there.
    pub fn remove(&self, id: u64) -> bool {
        let mut queue = self.queue();
        let before = queue.len();
        queue.retain(|rule| rule.id != id);
        self.count(&queue);
        queue.len() < before
    }

    /// The number of faults that have not been applied.
    pub fn pending(&self) -> usize {
        self.0.pending.load(Ordering::Acquire)
    }

    /// Waits until every fault has been applied. The effect of the last one may still continue.
    pub async fn used_up(&self) {
        loop {
            let mut applied = pin!(self.0.applied.notified());
            applied.as_mut().enable();
            if self.pending() == 0 {
                return;
            }
            applied.await;
        }
    }

    /// Empties the queue.
    pub fn clear(&self) {
        let mut queue = self.queue();
        queue.clear();
        self.count(&queue);
    }

    /// An empty queue. A seed makes probabilities repeatable.
    pub(crate) fn new(stop: CancellationToken, seed: Option<u64>) -> Self {
        Self(Arc::new(Inner {
            queue: Mutex::default(),
            random: Random::new(seed),
            added: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            applied: Notify::new(),
            stop,
            #[cfg(feature = "control")]
            store: OnceLock::new(),
        }))
    }

    /// Carries a request out, unless a fault prevents it.
    pub(crate) async fn apply<T>(
        &self,
        step: Step,
        device: Option<&str>,
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<FaultOutcome<T>, ServiceError> {
        let effect = self.take(step, device).await;
        self.carry_out(effect, work).await
    }

    /// Carries a request out with an effect that [`Faults::take`] returned.
    pub(crate) async fn carry_out<T>(
        &self,
        effect: Option<Effect>,
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<FaultOutcome<T>, ServiceError> {
        let Some(effect) = effect else {
            return work.await.map(FaultOutcome::Done);
        };
        match effect {
            Effect::Throttle { retry_after } => {
                Err(ServiceError::new(ErrorCode::THROTTLED, MESSAGE)
                    .with_retry_after(retry_after.as_secs()))
            }
            Effect::Fail(status) => {
                let status = match status {
                    500..600 => status,
                    _ => 500,
                };
                let code = ErrorCode::new(u32::from(status) * 1000);
                Err(ServiceError::new(code, MESSAGE))
            }
            Effect::Refuse(code) => Err(ServiceError::new(code, MESSAGE)),
            Effect::Drop => Ok(FaultOutcome::Cut),
            Effect::DropAfter => {
                let _ = work.await;
                Ok(FaultOutcome::Cut)
            }
            Effect::Delay(delay) => tokio::select! {
                () = self.stopped() => Ok(FaultOutcome::Cut),
                () = tokio::time::sleep(delay) => work.await.map(FaultOutcome::Done),
            },
            Effect::Malformed => Ok(FaultOutcome::Malformed),
            Effect::Silence => Ok(FaultOutcome::Silence),
            // These change the answer, which the caller makes.
            Effect::Failed(_)
            | Effect::Disabled
            | Effect::TlsAlert(_)
            | Effect::AnswerTwice
            | Effect::WrongRequestId => work.await.map(FaultOutcome::Done),
        }
    }

    /// Waits until the emulator stops, which ends every [`Effect::Silence`].
    pub(crate) async fn stopped(&self) {
        self.0.stop.cancelled().await;
    }

    /// The effect for a request, which is then used up.
    pub(crate) async fn take(&self, step: Step, device: Option<&str>) -> Option<Effect> {
        self.take_if(|fault| {
            fault.is_for(step, device) && !matches!(fault.effect, Effect::TlsAlert(_))
        })
        .await
    }

    /// The TLS alert for a connection that was accepted.
    pub(crate) async fn take_tls_alert(&self) -> Option<u8> {
        let effect = self.take_if(|fault| {
            fault.is_for(Step::Connect, None) && matches!(fault.effect, Effect::TlsAlert(_))
        });
        match effect.await {
            Some(Effect::TlsAlert(alert)) => Some(alert),
            _ => None,
        }
    }

    async fn take_if(&self, is_wanted: impl Fn(&Fault) -> bool) -> Option<Effect> {
        while let Some(taken) = self.take_local(&is_wanted) {
            match self.applies(&taken).await {
                Ok(true) => {
                    let Taken { step, effect, .. } = taken;
                    tracing::debug!(?step, ?effect, "injected a fault");
                    return Some(effect);
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(%error, "a shared fault cannot be read and is not applied");
                    return None;
                }
            }
        }
        None
    }

    /// Whether no other emulator has applied the fault for this time, and no control endpoint has removed it.
    #[cfg(feature = "control")]
    async fn applies(&self, taken: &Taken) -> Result<bool, StoreError> {
        match taken.claim {
            Some(number) => self.claim(taken.id, number).await,
            None => Ok(true),
        }
    }

    /// Faults can be shared by a control endpoint only.
    #[cfg(not(feature = "control"))]
    fn applies(&self, _: &Taken) -> std::future::Ready<Result<bool, StoreError>> {
        std::future::ready(Ok(true))
    }

    /// The next fault of this emulator's queue.
    fn take_local(&self, is_wanted: impl Fn(&Fault) -> bool) -> Option<Taken> {
        if self.pending() == 0 {
            return None;
        }
        let mut queue = self.queue();
        let index = queue.iter().position(|rule| {
            let probability = rule.fault.probability;
            is_wanted(&rule.fault) && probability.is_none_or(|it| self.0.random.happens(it))
        })?;
        let rule = queue.get_mut(index)?;
        let is_limited = rule.fault.times != usize::MAX;
        let taken = Taken {
            step: rule.fault.step,
            effect: rule.fault.effect,
            #[cfg(feature = "control")]
            id: rule.id,
            #[cfg(feature = "control")]
            claim: rule.uses.filter(|_| is_limited),
        };
        if is_limited {
            rule.fault.times -= 1;
            #[cfg(feature = "control")]
            {
                rule.uses = rule.uses.map(|uses| uses + 1);
            }
        }
        if rule.fault.times == 0 {
            queue.remove(index);
        }
        self.count(&queue);
        Some(taken)
    }

    fn count(&self, queue: &VecDeque<Rule>) {
        // Saturating, because a test may write "always" as `usize::MAX` times, for several steps.
        let pending = queue
            .iter()
            .fold(0, |sum: usize, rule| sum.saturating_add(rule.fault.times));
        self.0.pending.store(pending, Ordering::Release);
        self.0.applied.notify_waiters();
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Rule>> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn faults() -> Faults {
        Faults::new(CancellationToken::new(), Some(1))
    }

    async fn register(faults: &Faults) -> Result<FaultOutcome<&'static str>, ServiceError> {
        faults
            .apply(Step::Register, Some("dev-1"), async { Ok("done") })
            .await
    }

    #[tokio::test]
    async fn without_a_fault_the_request_is_carried_out() {
        assert_eq!(register(&faults()).await, Ok(FaultOutcome::Done("done")));
    }

    #[tokio::test]
    async fn faults_are_applied_to_their_steps_in_order() {
        let faults = faults();
        faults.next(Fault::new(Step::Poll, Effect::Malformed));
        faults.next(Fault::new(Step::Register, Effect::Drop).times(2));
        faults.next(Fault::new(Step::Register, Effect::Silence));
        faults.next(Fault::new(Step::Register, Effect::Malformed).times(0));
        assert_eq!(faults.pending(), 4);

        assert_eq!(register(&faults).await, Ok(FaultOutcome::Cut));
        assert_eq!(register(&faults).await, Ok(FaultOutcome::Cut));
        assert_eq!(register(&faults).await, Ok(FaultOutcome::Silence));
        assert_eq!(register(&faults).await, Ok(FaultOutcome::Done("done")));
        assert_eq!(faults.pending(), 1);

        let used_up = faults.clone();
        let waiting = tokio::spawn(async move { used_up.used_up().await });
        let poll = faults.apply(Step::Poll, None, async { Ok(()) }).await;
        assert_eq!(poll, Ok(FaultOutcome::Malformed));
        waiting.await.expect("every fault was applied");
    }

    #[tokio::test]
    async fn two_steps_may_always_fail() {
        let faults = faults();
        for step in [Step::Register, Step::Poll] {
            faults.next(Fault::new(step, Effect::Drop).times(usize::MAX));
        }
        assert_eq!(faults.pending(), usize::MAX);
        assert_eq!(register(&faults).await, Ok(FaultOutcome::Cut));
        assert_eq!(register(&faults).await, Ok(FaultOutcome::Cut));
    }

    #[tokio::test]
    async fn errors_have_the_status_that_was_asked_for() {
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
    async fn only_drop_after_carries_the_request_out() {
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
            let _ = faults.apply(Step::Poll, None, work).await;
        }
        assert_eq!(done, 1);
    }

    #[tokio::test]
    async fn a_delay_ends_with_the_emulator() {
        let faults = faults();
        let delay = Effect::Delay(Duration::from_millis(1));
        faults.next(Fault::new(Step::Register, delay));
        assert_eq!(register(&faults).await, Ok(FaultOutcome::Done("done")));
        faults.next(Fault::new(
            Step::Register,
            Effect::Delay(Duration::from_secs(3600)),
        ));
        faults.0.stop.cancel();
        assert_eq!(register(&faults).await, Ok(FaultOutcome::Cut));
    }

    #[tokio::test]
    async fn a_fault_for_a_device_waits_for_that_device() {
        let faults = faults();
        faults.next(Fault::new(Step::Register, Effect::Drop).device("dev-2*"));
        assert_eq!(register(&faults).await, Ok(FaultOutcome::Done("done")));
        let other = faults.apply(Step::Register, Some("DEV-20"), async { Ok("done") });
        assert_eq!(other.await, Ok(FaultOutcome::Cut));
        assert_eq!(faults.pending(), 0);
    }

    #[tokio::test]
    async fn a_fault_with_a_probability_happens_to_some_requests_and_repeats_with_the_seed() {
        let run = || async {
            let faults = faults();
            let often = Fault::new(Step::Register, Effect::Drop).probability(0.5);
            faults.next(often.times(usize::MAX));
            let mut cut = Vec::new();
            for _ in 0..64 {
                cut.push(register(&faults).await == Ok(FaultOutcome::Cut));
            }
            cut
        };
        let cut = run().await;
        assert_eq!(cut, run().await);
        let count = cut.iter().filter(|it| **it).count();
        assert!((16..48).contains(&count), "{count}");
    }

    #[tokio::test]
    async fn a_fault_can_be_listed_and_removed() {
        let faults = faults();
        let first = faults.next(Fault::new(Step::Register, Effect::Drop));
        let second = faults.next(Fault::new(Step::Connect, Effect::TlsAlert(80)).times(2));
        assert_eq!(faults.take_tls_alert().await, Some(80));
        let left = Fault::new(Step::Connect, Effect::TlsAlert(80));
        assert_eq!(faults.list()[1], (second, left));
        assert!(faults.remove(first));
        assert!(!faults.remove(first));
        assert_eq!(faults.take(Step::Connect, None).await, None);
        assert_eq!(faults.pending(), 1);
    }
}
