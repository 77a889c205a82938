//! Many devices that register at the same time with a service that allows few of them in a minute.
//!
//! The devices are clients of the library over a transport whose service is simulated, with virtual time. No device sends a request
//! before the time that the service asked for, and their retries are spread: no second has a large part of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dps_device::attestation::Proof;
use dps_device::transport::{Reply, Session, Target, TransportError};
use dps_device::{ProvisioningClient, SymmetricKeyAttestation, Transport};
use dps_types::{OperationId, RegistrationRequest, SymmetricKey};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::common::Result;
use crate::common::options::Options;
use crate::common::random::Random;
use crate::common::report::Report;

/// The devices, and the registrations that the service allows in a minute. Source: azure-docs `iot-dps/about-iot-dps.md`.
const LONG: (usize, u64) = (10_000, 1000);
const SHORT: (usize, u64) = (2000, 200);
const WINDOW: u64 = 60;
/// The polls of a device that the service allows in ten seconds. Source: the same.
const POLLS: usize = 5;
/// The limit of a registration. All can be done within it.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// After this many windows the waits of all devices have grown.
const WARM_UP: u64 = 5;

/// How the service chooses the wait that it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// The end of the window, which is the same time for all devices.
    EndOfWindow,
    /// A few seconds, the same for all devices.
    FiveSeconds,
    /// No wait.
    Nothing,
}

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let mut report = Report::default();
    let (devices, rate) = if options.is_long() { LONG } else { SHORT };
    report.figure("devices", devices);
    report.figure("registrations that the service allows in a minute", rate);
    let mut random = options.random();
    for ask in [Ask::EndOfWindow, Ask::FiveSeconds, Ask::Nothing] {
        let random = random.split();
        // Virtual time requires a runtime with one thread of its own.
        let part = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()?;
            runtime.block_on(storm(devices, rate, ask, random))
        });
        report.part(&format!("{ask:?}"), part.await??);
    }
    Ok(report)
}

async fn storm(devices: usize, rate: u64, ask: Ask, mut random: Random) -> Result<Report> {
    let mut report = Report::default();
    let service = Service::new(rate, ask);
    let mut running = JoinSet::new();
    for number in 0..devices {
        let who = SymmetricKeyAttestation::new(
            format!("device-{number}").parse()?,
            SymmetricKey::generate(),
        );
        // Each device has random numbers of its own, so that the order of their requests does not matter.
        let draws = Mutex::new(random.split());
        let client = ProvisioningClient::new("0ne00000001".parse()?, who, service.clone())
            .with_random(move || fraction(&draws));
        running.spawn(async move { client.register().timeout(LIMIT).await });
    }
    let outcomes = running.join_all().await;
    let failed: Vec<String> = outcomes
        .into_iter()
        .filter_map(|outcome| outcome.err().map(|error| format!("{error:#}")))
        .collect();
    let state = service.state();
    report.check(failed.is_empty(), || {
        format!(
            "{} devices were not assigned: {:?}",
            failed.len(),
            failed.first()
        )
    });
    report.check(state.early == 0, || {
        format!(
            "{} requests came before the time that the service asked for",
            state.early
        )
    });
    report.check(state.too_many_polls == 0, || {
        format!(
            "{} polls exceeded {POLLS} in ten seconds",
            state.too_many_polls
        )
    });
    let seconds: Vec<u64> = state.registrations.clone();
    let minutes: Vec<u64> = seconds
        .chunks(WINDOW as usize)
        .map(|it| it.iter().sum())
        .collect();
    // The retries: everything but the first request of each device, which all arrive in the first second.
    let retries = seconds.iter().skip(1).max().copied().unwrap_or_default();
    let later = seconds.iter().skip((WARM_UP * WINDOW) as usize).max();
    let later = later.copied().unwrap_or_default();
    // A sixth of the first burst.
    let spread = devices as u64 / 6;
    report.check(retries <= spread, || {
        format!(
            "{retries} retries in one second, of {devices} devices: at most {spread} are expected"
        )
    });
    // A device that waits up to a minute after the time that the service asked for sends one request in half a minute on average.
    let waiting = devices as u64 * 2;
    report.check(
        minutes
            .iter()
            .skip(WARM_UP as usize)
            .all(|sent| *sent <= waiting),
        || format!("more than {waiting} requests in a minute: {minutes:?}"),
    );
    report.figure("minutes until all were assigned", minutes.len());
    report.figure("requests to register", seconds.iter().sum::<u64>());
    report.figure("retries in one second, at most", retries);
    report.figure(format!("the same after {WARM_UP} minutes"), later);
    report.figure(
        "requests in one minute, at most",
        minutes.iter().max().copied().unwrap_or_default(),
    );
    Ok(report)
}

/// The next random number, from 0 to 1.
fn fraction(draws: &Mutex<Random>) -> f64 {
    let mut draws = draws.lock().unwrap_or_else(PoisonError::into_inner);
    draws.next() as f64 / u64::MAX as f64
}

/// The simulated service. Clones share it.
#[derive(Debug, Clone)]
struct Service(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    start: Instant,
    rate: u64,
    ask: Ask,
    /// The requests to register in each second.
    registrations: Vec<u64>,
    /// The registrations that were accepted in the current window.
    window: (u64, u64),
    devices: HashMap<String, Device>,
    early: u64,
    too_many_polls: u64,
}

#[derive(Debug, Default)]
struct Device {
    not_before: Option<Instant>,
    polls: Vec<Instant>,
}

impl Service {
    fn new(rate: u64, ask: Ask) -> Self {
        Self(Arc::new(Mutex::new(State {
            start: Instant::now(),
            rate,
            ask,
            registrations: Vec::new(),
            window: (0, 0),
            devices: HashMap::new(),
            early: 0,
            too_many_polls: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn register(&mut self, id: &str) -> Reply {
        let now = Instant::now();
        let second = (now - self.start).as_secs();
        let index = usize::try_from(second).unwrap_or(usize::MAX);
        if self.registrations.len() <= index {
            self.registrations.resize(index + 1, 0);
        }
        self.registrations[index] += 1;
        self.arrived(id, now);
        if self.window.0 != second / WINDOW {
            self.window = (second / WINDOW, 0);
        }
        if self.window.1 < self.rate {
            self.window.1 += 1;
            let body = format!(r#"{{"operationId":"4.{id}","status":"assigning"}}"#);
            return self.asked_to_wait(id, now, Reply::new(202, body), Some(3));
        }
        let wait = match self.ask {
            Ask::EndOfWindow => Some(WINDOW - second % WINDOW),
            Ask::FiveSeconds => Some(5),
            Ask::Nothing => None,
        };
        let body =
            r#"{"errorCode":429001,"message":"Operations are being throttled for this tenant."}"#;
        self.asked_to_wait(id, now, Reply::new(429, body), wait)
    }

    fn poll(&mut self, id: &str) -> Reply {
        let now = Instant::now();
        self.arrived(id, now);
        let device = self.devices.entry(id.to_owned()).or_default();
        device
            .polls
            .retain(|poll| now - *poll < Duration::from_secs(10));
        device.polls.push(now);
        self.too_many_polls += u64::from(device.polls.len() > POLLS);
        Reply::new(
            200,
            format!(
                r#"{{"operationId":"4.{id}","status":"assigned","registrationState":{{"registrationId":"{id}","assignedHub":"hub.azure-devices.net","deviceId":"{id}","status":"assigned","substatus":"initialAssignment"}}}}"#
            ),
        )
    }

    /// Counts a request that is earlier than the service asked for.
    fn arrived(&mut self, id: &str, now: Instant) {
        let device = self.devices.entry(id.to_owned()).or_default();
        self.early += u64::from(device.not_before.is_some_and(|earliest| now < earliest));
    }

    fn asked_to_wait(
        &mut self,
        id: &str,
        now: Instant,
        reply: Reply,
        seconds: Option<u64>,
    ) -> Reply {
        let Some(seconds) = seconds else {
            return reply;
        };
        let wait = Duration::from_secs(seconds);
        let device = self.devices.entry(id.to_owned()).or_default();
        device.not_before = Some(now + wait);
        reply.with_retry_after(wait)
    }
}

#[async_trait]
impl Transport for Service {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        _: Proof<'a>,
    ) -> std::result::Result<Box<dyn Session + 'a>, TransportError> {
        let id = target.registration_id().to_string();
        Ok(Box::new(Open { service: self, id }))
    }
}

struct Open<'a> {
    service: &'a Service,
    id: String,
}

#[async_trait]
impl Session for Open<'_> {
    async fn register(
        &mut self,
        _: &RegistrationRequest,
    ) -> std::result::Result<Reply, TransportError> {
        Ok(self.service.state().register(&self.id))
    }

    async fn status(&mut self, _: &OperationId) -> std::result::Result<Reply, TransportError> {
        Ok(self.service.state().poll(&self.id))
    }
}
