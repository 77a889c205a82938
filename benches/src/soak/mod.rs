//! A long run of many devices at a hub: every message that the hub has accepted arrives, and memory does not grow.
//!
//! The devices run in this process, the hub in another one, which is stopped and started again during the run. A proxy may cut
//! their connections. Each message has a number, so that at the end the messages that the devices count as sent are compared with
//! those that the hub has received.

mod fleet;
mod hub;
mod memory;
mod proxy;

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use fleet::Fleet;
use hub::Hub;
use proxy::Proxy;

pub use hub::host;
pub use memory::{Memory, OpenFiles};

/// The hub of the devices.
const HUB: &str = "contoso-hub";

/// The options of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Soak {
    /// The number of devices; 2,000 by default.
    pub devices: usize,
    /// The time for which the devices send; 10 minutes by default.
    pub duration: Duration,
    /// The time between two messages of a device; a second by default.
    pub interval: Duration,
    /// The lifetime of the devices' tokens; a minute by default.
    pub token_lifetime: Duration,
    /// The number of restarts of the hub; 2 by default.
    pub restarts: u32,
    /// True if a proxy cuts connections; false by default.
    pub cut: bool,
    /// The most KiB after which the proxy cuts a connection; 96 by default. A connection that is cut within its first minute does not
    /// shorten the wait before the next, so that messages queue up.
    pub cut_kib: u64,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The messages that the devices have enqueued.
    pub enqueued: u64,
    /// Those that the hub has acknowledged.
    pub accepted: u64,
    /// The different messages that the hub has received.
    pub received: u64,
    /// The messages that were acknowledged and not received.
    pub lost: u64,
    /// The messages that were received more than once, which QoS 1 allows.
    pub duplicates: u64,
    /// The messages that the reader of the telemetry missed, so that the others are not known.
    pub missed: u64,
    /// The number of connections that the proxy has cut.
    pub cuts: u64,
    /// The resident memory of the devices' process.
    pub device_memory: Memory,
    /// The resident memory of the hub's process.
    pub hub_memory: Memory,
    /// The open files of the devices' process.
    pub device_files: OpenFiles,
    /// The open files of the hub's process.
    pub hub_files: OpenFiles,
}

impl Default for Soak {
    fn default() -> Self {
        Self {
            devices: 2000,
            duration: Duration::from_secs(600),
            interval: Duration::from_secs(1),
            token_lifetime: Duration::from_secs(60),
            restarts: 2,
            cut: false,
            cut_kib: 96,
        }
    }
}

impl Soak {
    /// Reads options such as `--devices 20`.
    ///
    /// # Errors
    /// If an option or its value is not valid.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut soak = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            if name == "--cut" {
                soak.cut = true;
                continue;
            }
            let value = arguments.next().ok_or(format!("{name} requires a value"))?;
            let number: u64 = value
                .parse()
                .map_err(|_| format!("{name} requires a number, and has '{value}'"))?;
            match name.as_str() {
                "--devices" => soak.devices = usize::try_from(number)?,
                "--seconds" => soak.duration = Duration::from_secs(number),
                "--interval-ms" => soak.interval = Duration::from_millis(number.max(1)),
                "--token-seconds" => soak.token_lifetime = Duration::from_secs(number),
                "--cut-kib" => soak.cut_kib = number,
                "--restarts" => soak.restarts = u32::try_from(number)?,
                _ => return Err(format!("there is no option {name}").into()),
            }
        }
        Ok(soak)
    }

    /// Runs devices and hub.
    ///
    /// # Errors
    /// If the hub does not start, or a device cannot register.
    pub async fn run(&self) -> Result<Report, Box<dyn Error>> {
        let dir = tempfile::tempdir()?;
        let mut hub = Hub::start(dir.path()).await?;
        let proxy = match self.cut {
            true => Some(Proxy::start(hub.mqtt_port(), self.cut_kib * 1024).await?),
            false => None,
        };
        let port = proxy.as_ref().map_or(hub.mqtt_port(), Proxy::port);
        let fleet = Fleet::register(self, &hub, port).await?;
        eprintln!("{} devices are registered", self.devices);

        let start = Instant::now();
        let (mut device_memory, mut hub_memory) = (Memory::default(), Memory::default());
        let (mut device_files, mut hub_files) = (OpenFiles::default(), OpenFiles::default());
        let running = fleet.start(self);
        let sampling = async {
            loop {
                sleep(self.duration / 100).await;
                device_memory.sample(std::process::id());
                hub_memory.sample(hub.process_id());
                device_files.sample(std::process::id());
                hub_files.sample(hub.process_id());
                let Some(part) = due(self, start.elapsed(), hub.restarts()) else {
                    continue;
                };
                sleep_until(start + part).await;
                if let Err(error) = hub.restart().await {
                    return error;
                }
                eprintln!("the hub was restarted after {:?}", start.elapsed());
            }
        };
        let sent = tokio::select! {
            sent = running => sent,
            failed = sampling => return Err(failed),
        };
        hub.stop().await?;
        let received = Received::read(dir.path())?;
        Ok(Report {
            enqueued: sent.values().map(|device| device.enqueued).sum(),
            accepted: sent.values().map(|device| device.accepted.len()).sum(),
            received: received.messages.values().map(|it| it.len() as u64).sum(),
            lost: received.lost(&sent),
            duplicates: received.duplicates,
            missed: received.missed,
            cuts: proxy.as_ref().map_or(0, Proxy::cuts),
            device_memory,
            hub_memory,
            device_files,
            hub_files,
        })
    }
}

/// The time of the next restart, if it is due before the next sample. The restarts are spread evenly.
fn due(soak: &Soak, elapsed: Duration, done: u32) -> Option<Duration> {
    if done >= soak.restarts {
        return None;
    }
    let next = soak.duration * (done + 1) / (soak.restarts + 1);
    (elapsed + soak.duration / 100 >= next).then_some(next)
}

/// The messages that a device has sent.
#[derive(Debug, Default)]
struct Sent {
    enqueued: u64,
    accepted: Numbers,
}

/// A set of small numbers, one bit each, so that the memory of the devices is not that of this record.
#[derive(Debug, Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn insert(&mut self, number: u64) {
        let word = usize::try_from(number / 64).unwrap_or(usize::MAX);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    fn len(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    fn iter(&self) -> impl Iterator<Item = u64> {
        let words = (0..).zip(&self.0);
        words.flat_map(|(index, word)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| index * 64 + bit)
        })
    }
}

/// The messages that the hub has received, by device.
#[derive(Debug, Default)]
struct Received {
    messages: HashMap<String, HashSet<u64>>,
    duplicates: u64,
    missed: u64,
}

impl Received {
    fn read(dir: &Path) -> Result<Self, Box<dyn Error>> {
        let mut received = Self::default();
        for line in std::fs::read_to_string(dir.join(hub::LOG))?.lines() {
            let (device, number) = line.split_once(' ').ok_or("a line has two words")?;
            let number = number.parse()?;
            if device == hub::MISSED {
                received.missed += number;
            } else if !received
                .messages
                .entry(device.to_owned())
                .or_default()
                .insert(number)
            {
                received.duplicates += 1;
            }
        }
        Ok(received)
    }

    fn lost(&self, sent: &HashMap<String, Sent>) -> u64 {
        let nothing = HashSet::new();
        let lost = sent.iter().map(|(device, sent)| {
            let received = self.messages.get(device).unwrap_or(&nothing);
            let lost = sent.accepted.iter().filter(|it| !received.contains(it));
            lost.count() as u64
        });
        lost.sum()
    }
}

impl Report {
    /// Returns true if every message that was accepted has arrived, and messages were accepted at all.
    pub fn is_complete(&self) -> bool {
        self.accepted > 0 && self.lost == 0 && self.missed == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "enqueued       {}", self.enqueued)?;
        writeln!(f, "accepted       {}", self.accepted)?;
        writeln!(f, "received       {}", self.received)?;
        writeln!(f, "lost           {}", self.lost)?;
        writeln!(f, "duplicates     {}", self.duplicates)?;
        writeln!(f, "missed         {}", self.missed)?;
        writeln!(f, "cuts           {}", self.cuts)?;
        writeln!(f, "device memory  {}", self.device_memory)?;
        writeln!(f, "hub memory     {}", self.hub_memory)?;
        writeln!(f, "device files   {}", self.device_files)?;
        write!(f, "hub files      {}", self.hub_files)
    }
}
