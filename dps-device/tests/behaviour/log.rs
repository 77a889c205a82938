//! The log of a device: the failures that are logged, their level and their rate.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use dps_device::ErrorKind;
use dps_device::transport::TransportError;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Level};
use tracing_subscriber::fmt::MakeWriter;

use crate::script::{Script, Step, assigned, fail_with};

/// Collects the log in memory.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Collects the log of this thread until the guard is dropped.
    pub(crate) fn collect(level: Level) -> (Self, DefaultGuard) {
        // With one subscriber only, tracing would cache for all threads that a thread without it has no use for a message.
        static SECOND: LazyLock<Dispatch> =
            LazyLock::new(|| Dispatch::new(NoSubscriber::default()));
        LazyLock::force(&SECOND);

        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    fn count(&self, text: &str) -> usize {
        self.text().matches(text).count()
    }
}

#[tokio::test(start_paused = true)]
async fn retries_are_logged_at_once_and_then_at_most_once_a_minute() {
    let (log, _guard) = Log::collect(Level::WARN);
    let script = Script::forever(Step::Fail(ErrorKind::Connect));
    let client = script
        .client()
        .with_min_poll_interval(Duration::from_secs(1));
    let register = client.register().timeout(Duration::from_secs(290));
    register.await.unwrap_err();

    let retries = log.count("retrying");
    assert!(script.asked().len() > 10, "{:?}", script.asked());
    assert!((2..=5).contains(&retries), "{}", log.text());
    assert_eq!(log.count("the registration failed"), 1, "{}", log.text());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_logged_with_all_its_causes() {
    let (log, _guard) = Log::collect(Level::WARN);
    let cause = || std::io::Error::other("the name does not resolve");
    let failure = fail_with(move || {
        TransportError::new(ErrorKind::Connect, "the connection failed").with_source(cause())
    });
    let script = Script::new([failure, assigned()]);
    script.client().register().await.unwrap();

    let expected = "retrying error=the connection failed: the name does not resolve";
    assert_eq!(log.count(expected), 1, "{}", log.text());
    assert_eq!(log.count("WARN"), 1, "{}", log.text());
}
