//! Fault injection: the next request of a device is throttled, fails, is lost, or has no answer.
//!
//! Faults are applied between transport and engine, so that they are the same for every transport.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dps_types::ErrorCode;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::service_error::ServiceError;

/// A step of a device at which a fault can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// A TLS connection is complete, on any port, and no request was sent. Connections of service clients count as well.
    Connect,
    /// A registration. A TPM sends two requests over HTTPS, for its challenge and with the answer, and both count. To reach
    /// only the second, let the first pass with a [`Delay`](Effect::Delay) of zero.
    Register,
    /// A poll for the status of a registration.
    Poll,
    /// A device connects to its hub: an MQTT CONNECT.
    HubConnect,
    /// A device reads its twin at its hub.
    TwinGet,
    /// A device patches its reported properties at its hub.
    TwinReport,
    /// A device sends telemetry to its hub.
    Telemetry,
    /// DPS or a hub issues a certificate to a device, after it has accepted the request: the device waits or polls.
    IssueCertificate,
}

/// The effect of a fault.
///
/// At [`Step::Connect`] there is no request to answer or to carry out: every effect but [`Delay`](Self::Delay) and
/// [`Silence`](Self::Silence) closes the connection. At [`Step::HubConnect`], [`Throttle`](Self::Throttle) and
/// [`Fail`](Self::Fail) are answered with CONNACK 3 (server unavailable), and [`Malformed`](Self::Malformed) closes the
/// connection. At [`Step::Telemetry`], which has no answer, those three close the connection. At [`Step::IssueCertificate`]
/// every effect but [`Delay`](Self::Delay) and [`Silence`](Self::Silence) makes the issuance fail with an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// 429 with error code 429001. The request is not carried out.
    Throttle {
        /// The value of `Retry-After`, in whole seconds.
        retry_after: Duration,
    },
    /// The service fails with this status, 500 to 599. The request is not carried out. Another status is replaced by 500.
    Fail(u16),
    /// The service refuses the request with this error code, such as 503001. The request is not carried out.
    Refuse(ErrorCode),
    /// The connection is closed before the request is carried out.
    Drop,
    /// The request is carried out, and the connection is closed before any answer.
    DropAfter,
    /// The request is carried out after this time.
    Delay(Duration),
    /// The answer has status 200 and a body that is not JSON. The request is not carried out.
    Malformed,
    /// The request is not carried out and has no answer. The connection stays open.
    Silence,
}

/// A fault at a step, once or several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    step: Step,
    effect: Effect,
    times: usize,
}

impl Fault {
    /// A fault that happens once.
    pub fn new(step: Step, effect: Effect) -> Self {
        Self {
            step,
            effect,
            times: 1,
        }
    }

    /// Makes it happen this many times in a row. With 0 it does not happen.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }
}

/// The queue of faults, for tests of devices. Clones share it.
///
/// A fault is applied to the next request of its step, of any device over any transport, and is then used up. Faults of the
/// same step are applied in the order in which they were added.
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
    queue: Mutex<VecDeque<Fault>>,
    /// The number of faults in the queue, so that a request without a fault needs no lock.
    pending: AtomicUsize,
    applied: Notify,
    stop: CancellationToken,
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
    /// Adds a fault to the queue.
    pub fn next(&self, fault: Fault) {
        let mut queue = self.queue();
        queue.push_back(fault);
        self.count(&queue);
    }

    /// The number of faults that have not been applied.
    pub fn pending(&self) -> usize {
        self.0.pending.load(Ordering::Acquire)
    }

    /// Waits until every fault has been applied. The effect of the last one may not be over.
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

    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            queue: Mutex::default(),
            pending: AtomicUsize::new(0),
            applied: Notify::new(),
            stop,
        }))
    }

    /// Carries a request out, unless a fault prevents it.
    pub(crate) async fn apply<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<FaultOutcome<T>, ServiceError> {
        let Some(effect) = self.take(step) else {
            return work.await.map(FaultOutcome::Done);
        };
        tracing::debug!(?step, ?effect, "injected a fault");
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
        }
    }

    /// Waits until the emulator stops, which ends every [`Effect::Silence`].
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
        // Saturating, because a test may write "always" as `usize::MAX` times, for several steps.
        let pending = queue
            .iter()
            .fold(0, |sum: usize, fault| sum.saturating_add(fault.times));
        self.0.pending.store(pending, Ordering::Release);
        self.0.applied.notify_waiters();
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

    async fn register(faults: &Faults) -> Result<FaultOutcome<&'static str>, ServiceError> {
        faults.apply(Step::Register, async { Ok("done") }).await
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
        let poll = faults.apply(Step::Poll, async { Ok(()) }).await;
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
            let _ = faults.apply(Step::Poll, work).await;
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
}
