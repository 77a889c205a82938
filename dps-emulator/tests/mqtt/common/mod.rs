//! What the tests stand on: an emulator, and clients of its wire that share no code with it.

mod client;
mod dps;
mod hub;
mod packet;
mod sas;
mod transport;
mod websocket;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dps_emulator::Clock;

pub(crate) use client::Client;
pub(crate) use dps::{Dps, certificate_enrollment, certificate_group, key_enrollment, with};
pub(crate) use hub::{DESIRED, GET, REPORT, RESPONSES, hub_token};
pub(crate) use packet::{Connect, publish, publish_at_most_once, subscribe, unsubscribe};
pub(crate) use sas::{FOREVER, derive, token, token_until};
pub(crate) use transport::{Tls, Transport};
pub(crate) use websocket::{Ws, handshake, head};

/// Keys of 32 bytes, all different.
pub(crate) const KEY_1: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
pub(crate) const KEY_2: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=";

/// Longer than anything here takes: what is not done by then hangs.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// What a device subscribes to, and where it publishes.
pub(crate) const FILTER: &str = "$dps/registrations/res/#";
pub(crate) const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";
pub(crate) const STATUS: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=";

/// CONNACK with return code 0, and with 5: not authorized.
pub(crate) const ACCEPTED: &[u8] = b"\x20\x02\x00\x00";
pub(crate) const NOT_AUTHORIZED: &[u8] = b"\x20\x02\x00\x05";
pub(crate) const PINGREQ: &[u8] = b"\xC0\x00";
pub(crate) const PINGRESP: &[u8] = b"\xD0\x00";
pub(crate) const DISCONNECT: &[u8] = b"\xE0\x00";

/// The names of an object's members, in their order.
pub(crate) fn names(object: &serde_json::Value) -> Vec<&str> {
    let members = object.as_object().expect("an object");
    members.keys().map(String::as_str).collect()
}

/// A clock that stands where a test puts it.
#[derive(Clone, Debug)]
pub(crate) struct TestClock(Arc<Mutex<SystemTime>>);

impl TestClock {
    /// Stands at this moment.
    pub(crate) fn now() -> Self {
        Self(Arc::new(Mutex::new(SystemTime::now())))
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().expect("not poisoned") += by;
    }

    pub(crate) fn unix(&self) -> u64 {
        let since = Clock::now(self).duration_since(SystemTime::UNIX_EPOCH);
        since.expect("after 1970").as_secs()
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        *self.0.lock().expect("not poisoned")
    }
}

/// A linked hub, from the syntax of the command line.
pub(crate) fn linked(text: &str) -> dps_emulator::LinkedHub {
    text.parse().expect("a hub")
}
