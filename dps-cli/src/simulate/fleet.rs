//! `dps simulate` against an instance or an emulator: every device registers with the SDK.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use dps_device::{
    Attestation, Event, Host, IdScope, ProvisioningClient, RegistrationId, SymmetricKey,
    SymmetricKeyAttestation, X509Attestation,
};
use indicatif::ProgressBar;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

use super::random::Random;
use super::stats::Stats;
use super::{Simulate, duration, write_reports};
use crate::certificate::Authority;
use crate::context::Context;
use crate::device::{TransportName, TransportOptions};
use crate::failure::{Exit, Failure, Result};
use crate::format::Format;
use crate::input::{self, InputFile};
use crate::service::Network;
use crate::tools::progress;

/// The devices, and where they register.
#[derive(Args)]
#[command(next_help_heading = "Fleet options")]
pub(super) struct FleetOptions {
    /// Id scope of the instance
    #[arg(long, env = "DPS_ID_SCOPE", value_name = "SCOPE")]
    id_scope: Option<IdScope>,
    /// Host that devices connect to; global.azure-devices-provisioning.net by default
    #[arg(long, env = "DPS_HOST", value_name = "HOST")]
    host: Option<Host>,
    /// File with the symmetric key of an enrollment group, from which the keys of the devices are derived; - for stdin. Without
    /// it, the variable DPS_GROUP_KEY
    #[arg(long, value_name = "FILE")]
    group_key_file: Option<InputFile>,
    /// CA whose enrollment group the devices belong to: each device gets a certificate. With a group key as well, every second
    /// device uses its key
    #[arg(long, value_name = "FILE", requires = "ca_key")]
    ca: Option<InputFile>,
    /// File with the private key of the CA
    #[arg(long, value_name = "FILE", requires = "ca")]
    ca_key: Option<InputFile>,
    /// Beginning of the registration ids; a number follows
    #[arg(long, value_name = "TEXT", default_value = "simulated-")]
    prefix: String,
    #[command(flatten)]
    transport: TransportOptions,
    #[command(flatten)]
    network: Network,
    /// Most devices that register at the same time
    #[arg(long, value_name = "N", default_value_t = 500)]
    concurrency: usize,
    /// Longest time of one registration
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    timeout: Duration,
    /// Start the devices faster than --rate allows
    #[arg(long)]
    unlimited: bool,
}

/// The credentials of the fleet.
struct Credentials {
    group_key: Option<SymmetricKey>,
    authority: Option<Authority>,
}

pub(super) async fn run(simulate: &Simulate, context: &Context) -> Result<ExitCode> {
    let options = &simulate.fleet;
    let credentials = Credentials::load(options)?;
    let stats = Arc::new(Stats::new(simulate.devices));
    let bar = progress::fleet(context, simulate.devices);
    let slots = Arc::new(Semaphore::new(options.concurrency.max(1)));
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    let start_all = async {
        for (index, start) in starts(simulate).into_iter().enumerate() {
            sleep_until(began + start).await;
            let slot = Arc::clone(&slots).acquire_owned().await;
            let slot =
                slot.map_err(|_| Failure::new(Exit::Failure, "the simulation was stopped"))?;
            let (client, transport) = client(simulate, index, &credentials, context)?;
            let (stats, timeout) = (Arc::clone(&stats), options.timeout);
            tasks.spawn(async move {
                device(&client, transport, timeout, &stats).await;
                drop(slot);
            });
            while tasks.try_join_next().is_some() {}
        }
        while tasks.join_next().await.is_some() {}
        Ok::<_, Failure>(())
    };
    tokio::select! {
        result = start_all => result?,
        () = watch(&stats, &bar, began) => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    bar.finish_and_clear();
    stats.sample(began.elapsed());
    let report = stats.report(began.elapsed());
    write_reports(simulate, &report)?;
    match context.output.format() {
        Format::Table => print!("{}", report.text()),
        _ => context.output.item(report.json())?,
    }
    Ok(match stats.unfinished() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(Exit::Partial as u8),
    })
}

impl Credentials {
    fn load(options: &FleetOptions) -> Result<Self> {
        let group_key = input::key(options.group_key_file.as_ref(), "DPS_GROUP_KEY")?;
        let authority = match (&options.ca, &options.ca_key) {
            (Some(ca), Some(key)) => Some(Authority::load(ca, key)?),
            _ => None,
        };
        if group_key.is_none() && authority.is_none() {
            return Err(Failure::usage("the devices have no credentials")
                .with_hint("use --group-key-file, or --ca and --ca-key"));
        }
        Ok(Self {
            group_key,
            authority,
        })
    }

    fn of(&self, index: usize, id: RegistrationId) -> Result<Box<dyn Attestation>> {
        match (&self.group_key, &self.authority) {
            (Some(key), None) => Ok(Box::new(SymmetricKeyAttestation::from_group(id, key))),
            (Some(key), Some(_)) if index.is_multiple_of(2) => {
                Ok(Box::new(SymmetricKeyAttestation::from_group(id, key)))
            }
            (_, Some(authority)) => {
                let (chain, key) = authority.issue_device(id.as_str())?;
                Ok(Box::new(X509Attestation::from_pem(&chain, &**key)?))
            }
            (None, None) => Err(Failure::usage("the devices have no credentials")),
        }
    }
}

/// The starts of the devices: those of the pattern, and never closer together than the rate allows.
fn starts(simulate: &Simulate) -> Vec<Duration> {
    let mut random = Random::new(simulate.seed);
    let start = |index| {
        simulate
            .arrival
            .start(index, simulate.devices, simulate.over, &mut random)
    };
    let mut starts: Vec<Duration> = (0..simulate.devices).map(start).collect();
    starts.sort_unstable();
    if !simulate.fleet.unlimited {
        let apart = Duration::from_secs(60) / simulate.rate;
        let mut earliest = Duration::ZERO;
        for start in &mut starts {
            *start = (*start).max(earliest);
            earliest = *start + apart;
        }
    }
    starts
}

fn client(
    simulate: &Simulate,
    index: usize,
    credentials: &Credentials,
    context: &Context,
) -> Result<(ProvisioningClient, TransportName)> {
    let options = &simulate.fleet;
    let id: RegistrationId = format!("{}{index}", options.prefix).parse()?;
    let scope = match (&options.id_scope, &context.profile.id_scope) {
        (Some(scope), _) => scope.clone(),
        (None, Some(text)) => text.parse()?,
        (None, None) => {
            return Err(Failure::usage("the id scope is missing")
                .with_hint("use --id-scope or DPS_ID_SCOPE"));
        }
    };
    let host = match (&options.host, &context.profile.host) {
        (Some(host), _) => host.clone(),
        (None, Some(text)) => text.parse()?,
        (None, None) => Host::GLOBAL,
    };
    let (transport, name) = options.transport.nth(index);
    let mut client =
        ProvisioningClient::new(scope, credentials.of(index, id)?, transport).with_host(host);
    if let Some(roots) = options.network.roots(context)? {
        client = client.with_roots(roots);
    }
    if let Some(proxy) = options.network.proxy(context)? {
        client = client.with_proxy(proxy);
    }
    Ok((client, name))
}

/// One registration, with its events counted.
async fn device(
    client: &ProvisioningClient,
    transport: TransportName,
    timeout: Duration,
    stats: &Stats,
) {
    let began = Instant::now();
    stats.started();
    let mut events = client.register().timeout(timeout).events();
    while let Some(event) = events.next().await {
        match event {
            Event::Registering => stats.requested(),
            Event::Assigning { .. } => stats.assigning(),
            Event::Retrying { error, .. } => stats.retrying(&error),
            Event::Assigned(assignment) => {
                stats.assigned(began.elapsed(), assignment.hub().as_str(), transport);
            }
            Event::Failed(error) => stats.failed(&error),
            _ => {}
        }
    }
}

/// Shows the state of the fleet, and records a point each second. It does not end.
async fn watch(stats: &Stats, bar: &ProgressBar, began: Instant) {
    let mut ticks = interval(Duration::from_millis(500));
    loop {
        ticks.tick().await;
        stats.sample(began.elapsed());
        bar.set_position(stats.finished());
        bar.set_message(stats.line(began.elapsed()));
    }
}
