//! Work on a thread for blocking work, which is not begun after its caller was dropped.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::task::{JoinError, JoinHandle};

/// The result of work on a thread for blocking work. If it is dropped, work that has not begun is not run. Work that has begun
/// continues.
pub(crate) struct AbortOnDrop<T>(pub(crate) JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tokio::runtime::Builder;
    use tokio::task::spawn_blocking;

    use super::*;

    #[test]
    fn work_that_waits_for_a_thread_is_not_run_after_its_caller_has_gone() {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (release, blocked) = channel::<()>();
            let first = AbortOnDrop(spawn_blocking(move || blocked.recv()));
            let (report, ran) = channel();
            let second = AbortOnDrop(spawn_blocking(move || report.send(())));
            drop(second);
            release.send(()).unwrap();
            first.await.unwrap().unwrap();
            AbortOnDrop(spawn_blocking(|| ())).await.unwrap();
            ran.recv().unwrap_err();
        });
    }
}
