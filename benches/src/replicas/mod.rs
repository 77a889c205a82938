//! Several emulators on one PostgreSQL database behind a load balancer, which are killed and started again while devices register.
//!
//! Every write that was acknowledged must be there in the end, every device must have one assignment and one identity at a hub, and
//! no device may wait past its deadline.

mod balancer;
mod devices;
mod replica;
mod verify;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::postgres::Postgres;
use balancer::Balancer;
use devices::Fleet;
use replica::{Ports, Replica};

pub use replica::host;

/// The hubs of all replicas.
const HUBS: [&str; 3] = ["hub-a", "hub-b", "hub-c"];

/// The options of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replicas {
    /// The number of devices; 10,000 by default.
    pub devices: usize,
    /// The number of emulators; 3 by default.
    pub replicas: usize,
    /// The most devices that register at the same time; 64 by default.
    pub concurrency: usize,
    /// The time between two kills; 5 seconds by default. Zero kills no replica.
    pub kill_interval: Duration,
    /// The number of times that PostgreSQL is stopped and started again; 1 by default.
    pub database_restarts: u32,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Report {
    /// The devices that were assigned.
    pub assigned: usize,
    /// The time from the first registration to the last assignment.
    pub duration: Duration,
    /// The longest registration.
    pub longest: Duration,
    /// The registrations that did not end in an assignment, with their errors.
    pub failed: Vec<String>,
    /// What differs from what was acknowledged.
    pub faults: Vec<String>,
    /// The number of replicas that were killed.
    pub kills: u32,
    /// The number of restarts of PostgreSQL.
    pub database_restarts: u32,
    /// The CPU time of the replicas that were alive at the end.
    pub replica_cpu: Duration,
}

impl Default for Replicas {
    fn default() -> Self {
        Self {
            devices: 10_000,
            replicas: 3,
            concurrency: 64,
            kill_interval: Duration::from_secs(5),
            database_restarts: 1,
        }
    }
}

impl Replicas {
    /// Reads options such as `--devices 200`.
    ///
    /// # Errors
    /// If an option or its value is not valid.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut run = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(format!("{name} requires a value"))?;
            let number: u64 = value
                .parse()
                .map_err(|_| format!("{name} requires a number, and has '{value}'"))?;
            match name.as_str() {
                "--devices" => run.devices = usize::try_from(number)?,
                "--replicas" => run.replicas = usize::try_from(number)?.max(1),
                "--concurrency" => run.concurrency = usize::try_from(number)?.max(1),
                "--kill-seconds" => run.kill_interval = Duration::from_secs(number),
                "--database-restarts" => run.database_restarts = u32::try_from(number)?,
                _ => return Err(format!("there is no option {name}").into()),
            }
        }
        Ok(run)
    }

    /// Starts PostgreSQL, the emulators and HAProxy, and registers the devices.
    ///
    /// # Errors
    /// If one of them does not start.
    pub async fn run(&self) -> Result<Report, Box<dyn Error>> {
        let mut database = Postgres::start().await?;
        let mut replicas = Vec::new();
        for _ in 0..self.replicas {
            replicas.push(Replica::start(database.url(), Ports::free()?).await?);
        }
        let ports: Vec<Ports> = replicas.iter().map(Replica::ports).collect();
        let balancer = Balancer::start(&ports).await?;
        let first = &replicas[0];
        let fleet = Fleet::new(balancer.ports(), first.connection(), first.ca_pem())?;
        fleet.prepare().await?;
        eprintln!("{} replicas are running", self.replicas);

        let mut report = Report::default();
        let start = Instant::now();
        let registered = {
            let mut killed = 0;
            let mut restarted = 0;
            let registering = fleet.register(self.devices, self.concurrency);
            let disturbing = async {
                let mut last_restart = 0;
                loop {
                    sleep(self.kill_interval.max(Duration::from_millis(100))).await;
                    if !self.kill_interval.is_zero() {
                        let victim = killed as usize % replicas.len();
                        replicas[victim].kill().await?;
                        killed += 1;
                        // Devices register at the others for a while.
                        sleep(Duration::from_secs(1)).await;
                        replicas[victim].restart().await?;
                    }
                    let due = self.devices * (restarted as usize + 1)
                        / (self.database_restarts as usize + 1);
                    let done = fleet.done();
                    if restarted < self.database_restarts && done >= due && done > last_restart {
                        database.restart().await?;
                        restarted += 1;
                        last_restart = done;
                        eprintln!("PostgreSQL was restarted after {done} devices");
                    }
                }
                #[expect(unreachable_code, reason = "it names the error type")]
                Ok::<(), Box<dyn Error>>(())
            };
            let registered = tokio::select! {
                registered = registering => registered,
                failed = disturbing => return Err(failed.err().unwrap_or_else(|| "it ended".into())),
            };
            report.kills = killed;
            report.database_restarts = restarted;
            registered
        };
        report.duration = start.elapsed();
        report.longest = registered
            .iter()
            .map(|device| device.took)
            .max()
            .unwrap_or_default();
        report.failed = registered
            .iter()
            .filter_map(|device| device.outcome.clone().err())
            .collect();
        report.assigned = registered.len() - report.failed.len();
        report.replica_cpu = replicas.iter().map(Replica::cpu_time).sum();
        report.faults = verify::faults(database.url(), &registered).await?;
        Ok(report)
    }
}

impl Report {
    /// Whether everything that was acknowledged is there, every device was assigned, and replicas and database were interrupted as
    /// the options require.
    pub fn is_complete(&self, run: &Replicas) -> bool {
        let was_killed = self.kills > 0 || run.kill_interval.is_zero();
        let was_restarted = self.database_restarts == run.database_restarts;
        self.failed.is_empty() && self.faults.is_empty() && was_killed && was_restarted
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.duration.as_secs_f64();
        let rate = self.assigned as f64 / seconds.max(f64::MIN_POSITIVE);
        writeln!(
            f,
            "assigned           {} in {seconds:.1} s ({rate:.0} a second)",
            self.assigned
        )?;
        writeln!(f, "longest            {:.1} s", self.longest.as_secs_f64())?;
        writeln!(f, "killed replicas    {}", self.kills)?;
        writeln!(f, "database restarts  {}", self.database_restarts)?;
        writeln!(
            f,
            "CPU of replicas    {:.1} s",
            self.replica_cpu.as_secs_f64()
        )?;
        writeln!(f, "not assigned       {}", self.failed.len())?;
        write!(f, "faults             {}", self.faults.len())?;
        for line in self
            .failed
            .iter()
            .take(20)
            .chain(self.faults.iter().take(20))
        {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}
