//! The log: failures of a hub are logged with their causes, and not too often.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dps_device::{ConnectOptions, ErrorKind};
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::HUB;
use crate::mqtt::{MqttKind, key};
use crate::pki::Pki;

/// Collects the log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Collects warnings until the guard is dropped.
    fn warnings() -> (Self, DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::WARN)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

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

#[tokio::test(start_paused = true)]
async fn a_hub_whose_name_does_not_resolve_is_logged_at_once_and_then_once_a_minute() {
    let (log, _guard) = Log::warnings();
    let hub = super::hub(key("my-device"), MqttKind::Mqtt, &Pki::new(), 8883)
        .with_host("hub.invalid".parse::<dps_device::Host>().unwrap());
    let options = ConnectOptions::new().with_request_timeout(Duration::from_secs(10 * 60));
    let (handle, mut events) = hub.connect_with(options);
    let error = events.drive(handle.twin()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);

    let lines = log.lines();
    let first = &lines[0];
    assert!(
        first.contains("the connection to the hub failed"),
        "{first}"
    );
    // The cause from the system's resolver follows the text of the error.
    let cause = error.last_failure().unwrap().to_string();
    assert!(first.contains(&format!("{cause}: ")), "{first}");
    assert!((8..=14).contains(&lines.len()), "{lines:#?}");
    assert!(
        !first.contains(HUB) || first.contains("hub.invalid"),
        "{first}"
    );
}
