//! Logs each refusal once, in one line: the device, the transport and the reason.
//!
//! DPS does not send the reason to its clients, and MQTT has no error body at all. The number of lines is limited, per client and in all, so that a client that retries without a pause does not fill the log.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::peer::Caller;
use crate::service_error::ServiceError;

/// The time for which lines are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// The most lines about one client in that time.
const LINES_PER_CLIENT: u32 = 5;
/// The most lines in that time. It also bounds the number of clients that are remembered.
const LINES: u32 = 200;
/// The longest text of a client that is logged, in characters.
const TEXT: usize = 200;

/// Logs refusals, within limits.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    window: Mutex<Option<Window>>,
}

#[derive(Debug)]
struct Window {
    start: Instant,
    by_client: HashMap<String, u32>,
    lines: u32,
    dropped: u64,
}

impl RefusalLog {
    /// Logs that a request or a connection of a device was refused.
    pub(super) fn log(&self, caller: Caller<'_>, device: Option<&str>, error: &ServiceError) {
        if error.challenge.is_some() {
            // The first step of every TPM's registration.
            return tracing::debug!(device, peer = %caller.peer.address, "challenged a TPM");
        }
        if self.permits(device, caller.peer.address.ip()) {
            tracing::warn!(
                device = device.map(shortened),
                transport = caller.transport.name(),
                peer = %caller.peer.address,
                code = error.code().get(),
                reason = shortened(error.reason()),
                "refused a device"
            );
        }
    }

    /// Logs that a connection was closed because of an action of the client.
    pub(super) fn closed(&self, caller: Caller<'_>, device: Option<&str>, reason: &str) {
        if self.permits(device, caller.peer.address.ip()) {
            tracing::warn!(
                device = device.map(shortened),
                transport = caller.transport.name(),
                peer = %caller.peer.address,
                reason = shortened(reason),
                "closed a connection"
            );
        }
    }

    /// Logs an action of a client that had no effect, on a connection that stays open.
    pub(super) fn ignored(&self, caller: Caller<'_>, device: Option<&str>, reason: &str) {
        if self.permits(device, caller.peer.address.ip()) {
            tracing::warn!(
                device = device.map(shortened),
                transport = caller.transport.name(),
                peer = %caller.peer.address,
                reason = shortened(reason),
                "did not serve a device"
            );
        }
    }

    /// Logs that a request of a service client was refused. A refusal in everyday use, such as 404, is at `debug`.
    pub(super) fn operator(&self, caller: Caller<'_>, request: &str, error: &ServiceError) {
        let peer = caller.peer.address;
        let (code, reason) = (error.code().get(), shortened(error.reason()));
        let request = shortened(request);
        let everyday = !matches!(error.status(), 401 | 403 | 429 | 500 | 502..);
        if everyday {
            tracing::debug!(request, %peer, code, reason, "refused a service client");
        } else if self.permits(None, peer.ip()) {
            tracing::warn!(request, %peer, code, reason, "refused a service client");
        }
    }

    fn permits(&self, device: Option<&str>, address: IpAddr) -> bool {
        let client = device.map_or_else(|| address.to_string(), |id| shortened(id).to_owned());
        self.permits_at(client, Instant::now())
    }

    fn permits_at(&self, client: String, now: Instant) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = window.take_if(|it| now.duration_since(it.start) >= WINDOW)
            && ended.dropped > 0
        {
            tracing::warn!(
                refusals = ended.dropped,
                "refusals that were not logged, because there were too many"
            );
        }
        let window = window.get_or_insert_with(|| Window {
            start: now,
            by_client: HashMap::new(),
            lines: 0,
            dropped: 0,
        });
        if window.lines < LINES {
            let lines = window.by_client.entry(client).or_default();
            if *lines < LINES_PER_CLIENT {
                *lines += 1;
                window.lines += 1;
                return true;
            }
        }
        window.dropped += 1;
        false
    }
}

fn shortened(text: &str) -> &str {
    text.char_indices()
        .nth(TEXT)
        .and_then(|(end, _)| text.get(..end))
        .unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_one_client_are_limited() {
        let log = RefusalLog::default();
        let now = Instant::now();
        let permitted = |client: &str, now| log.permits_at(client.to_owned(), now);
        for _ in 0..LINES_PER_CLIENT {
            assert!(permitted("one", now));
        }
        assert!(!permitted("one", now));
        assert!(permitted("other", now));
        assert!(permitted("one", now + WINDOW));
    }

    #[test]
    fn the_number_of_lines_is_limited() {
        let log = RefusalLog::default();
        let now = Instant::now();
        let permitted = (0..2 * LINES).filter(|client| log.permits_at(client.to_string(), now));
        assert_eq!(permitted.count(), LINES as usize);
    }

    #[test]
    fn a_long_text_is_shortened_between_characters() {
        assert_eq!(shortened("short"), "short");
        assert_eq!(shortened(&"ü".repeat(TEXT + 1)), "ü".repeat(TEXT));
    }
}
