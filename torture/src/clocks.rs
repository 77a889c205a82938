//! Clocks that are moved in both directions: the emulator's, by its control endpoint, and the device's, by the clock of its client.
//!
//! Tokens and certificates are judged by the emulator's clock. A device whose clock agrees with it is assigned, one whose clock
//! differs receives an error that names the clock, and operations and ETags go on over a jump.

use std::time::{Duration, SystemTime};

use dps_benches::TransportKind;
use dps_device::{Clock, ErrorKind, X509Attestation};
use dps_types::ETag;
use dps_types::enrollment::{EnrollmentGroup, ProvisioningStatus};
use futures_util::future::join_all;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::json;
use tokio::time::sleep;

use crate::common::Result;
use crate::common::emulator::Emulator;
use crate::common::fleet::{Fleet, Outcome, outcome};
use crate::common::hub_client::HubClient;
use crate::common::options::Options;
use crate::common::report::Report;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;
/// The offsets of the emulator's clock from the system's, in seconds.
const OFFSETS: [i64; 10] = [
    0,
    60,
    -60,
    2 * HOUR,
    -2 * HOUR,
    40 * DAY,
    -40 * DAY,
    3 * YEAR,
    -3 * YEAR,
    12 * YEAR,
];
/// The lifetime of a token, and of the short certificate on both sides of now.
const TOKEN: i64 = HOUR;
const CERTIFICATE: i64 = 30 * DAY;
const REGISTRATION: Duration = Duration::from_secs(60);

/// A clock that differs from the system's.
#[derive(Debug, Clone, Copy)]
struct Offset(i64);

impl Clock for Offset {
    fn now(&self) -> SystemTime {
        let length = Duration::from_secs(self.0.unsigned_abs());
        match self.0 {
            0.. => SystemTime::now() + length,
            _ => SystemTime::now() - length,
        }
    }
}

/// The parts of a run.
struct Clocks {
    emulator: Emulator,
    fleet: Fleet,
    hub: HubClient,
    group: &'static str,
    registrations: usize,
    report: Report,
}

pub(crate) async fn run(options: &Options) -> Result<Report> {
    let options = options.started(1);
    let dir = tempfile::tempdir()?;
    let arguments = ["--ephemeral", "--control-port=0", "--assign-delay=500"];
    let emulator = Emulator::start(&arguments, &dir.path().join("log")).await?;
    let fleet = Fleet::enroll(&emulator).await?;
    let hub = HubClient::new(&emulator)?;
    let factory = Factory::new()?;
    let certificates =
        EnrollmentGroup::signing_certificate("certificates".parse()?, factory.0.pem());
    emulator
        .service()?
        .enrollment_groups()
        .create(&certificates)
        .await?;
    let mut clocks = Clocks {
        emulator,
        fleet,
        hub,
        group: "fleet",
        registrations: 0,
        report: Report::default(),
    };
    let mut rounds = 0;
    while options.goes_on(rounds, 1) {
        for offset in OFFSETS {
            clocks.set(offset).await?;
            clocks.tokens(offset).await?;
            clocks.certificate(offset, &factory).await?;
        }
        for jump in [2 * HOUR, -2 * HOUR, 3 * YEAR, -3 * YEAR] {
            clocks.operation(jump).await?;
        }
        clocks.etags().await?;
        rounds += 1;
    }
    let mut report = clocks.report;
    report.figure("rounds", rounds);
    report.figure("offsets of the emulator's clock", OFFSETS.len());
    report.figure("registrations", clocks.registrations);
    Ok(report)
}

impl Clocks {
    async fn set(&self, offset: i64) -> Result<()> {
        let now: dps_types::Timestamp = Offset(offset).now().into();
        let url = format!("{}/clock", self.emulator.control().trim_end_matches('/'));
        self.hub.put(&url, &json!({ "now": now })).await
    }

    /// Devices with the system's clock, and others with the emulator's, over each transport.
    async fn tokens(&mut self, offset: i64) -> Result<()> {
        let mut devices = Vec::new();
        for transport in TransportKind::ALL {
            for device in [0, offset] {
                let name = self.name();
                let client = self
                    .fleet
                    .client(&name, transport, self.emulator.port(transport))?
                    .with_clock(Offset(device));
                devices.push((transport, device, client));
            }
        }
        let outcomes = join_all(
            devices
                .iter()
                .map(|(.., client)| outcome(client, REGISTRATION)),
        );
        for ((transport, device, _), outcome) in devices.iter().zip(outcomes.await) {
            // A token whose expiry is in the future is valid, however far.
            let is_valid = device + TOKEN > offset;
            let place = format!(
                "{}: the emulator's clock differs by {offset} s, the device's by {device} s",
                transport.name()
            );
            self.check(&place, &outcome, is_valid);
            // Over HTTPS the answer has the time of the service.
            if let (Outcome::Failed { text, .. }, TransportKind::Http) = (&outcome, transport) {
                self.report.check(text.contains("clock"), || {
                    format!("{place}: the error does not name the clock: {text}")
                });
            }
        }
        Ok(())
    }

    /// Devices with certificates that are valid for thirty days on both sides of now.
    async fn certificate(&mut self, offset: i64, factory: &Factory) -> Result<()> {
        let mut devices = Vec::new();
        for transport in TransportKind::ALL {
            let name = self.name();
            let id_scope = self.fleet.id_scope.clone();
            let client = transport
                .client(
                    self.emulator.port(transport),
                    id_scope,
                    factory.device(&name)?,
                )
                .with_roots(self.fleet.roots.clone());
            devices.push((transport, client));
        }
        let outcomes = join_all(
            devices
                .iter()
                .map(|(_, client)| outcome(client, REGISTRATION)),
        );
        for ((transport, _), outcome) in devices.iter().zip(outcomes.await) {
            let place = format!("{}: a certificate at {offset} s", transport.name());
            self.check(&place, &outcome, offset.abs() < CERTIFICATE);
        }
        Ok(())
    }

    fn check(&mut self, place: &str, outcome: &Outcome, is_valid: bool) {
        let is_expected = match outcome {
            Outcome::Assigned => is_valid,
            Outcome::Failed { kind, .. } => !is_valid && *kind == ErrorKind::Unauthorized,
            _ => false,
        };
        self.report
            .check(is_expected, || format!("{place}: {outcome:?}"));
    }

    /// The clock jumps while an operation is in progress. A token may expire by that; everything else goes on.
    async fn operation(&mut self, jump: i64) -> Result<()> {
        self.set(0).await?;
        let name = self.name();
        let transport = TransportKind::Http;
        let port = self.emulator.port(transport);
        let client = self.fleet.client(&name, transport, port)?;
        let registering = outcome(&client, REGISTRATION);
        let jumping = async {
            sleep(Duration::from_millis(300)).await;
            self.set(jump).await
        };
        let (outcome, jumped) = tokio::join!(registering, jumping);
        jumped?;
        let is_expected = match &outcome {
            Outcome::Assigned => true,
            Outcome::Failed { kind, .. } => jump > TOKEN && *kind == ErrorKind::Unauthorized,
            _ => false,
        };
        self.report.check(is_expected, || {
            format!("the clock jumps by {jump} s during an operation: {outcome:?}")
        });
        let again = self
            .fleet
            .client(&name, transport, port)?
            .with_clock(Offset(jump));
        let again = crate::common::fleet::outcome(&again, REGISTRATION).await;
        self.report.check(again == Outcome::Assigned, || {
            format!("the next registration after a jump by {jump} s: {again:?}")
        });
        Ok(())
    }

    /// Each update has a new ETag, also when the clock is set back.
    async fn etags(&mut self) -> Result<()> {
        let mut seen: Vec<ETag> = Vec::new();
        let id = self.group.parse()?;
        for offset in OFFSETS {
            self.set(offset).await?;
            let service = self.emulator.service()?.with_clock(Offset(offset));
            let groups = service.enrollment_groups();
            let mut group = groups.get(&id).await?;
            group.provisioning_status = Some(ProvisioningStatus::Enabled);
            let stale = group.etag.clone();
            let etag = groups
                .update(&group)
                .await?
                .etag
                .ok_or("the answer has no ETag")?;
            self.report
                .check(!seen.contains(&etag) && stale != Some(etag.clone()), || {
                    format!("the ETag {} was used before", etag.as_str())
                });
            let again = groups.update(&group).await;
            self.report.check(again.is_err(), || {
                format!("an update with an older ETag at {offset} s was accepted")
            });
            seen.push(etag);
        }
        self.set(0).await
    }

    fn name(&mut self) -> String {
        self.registrations += 1;
        format!("clock-{}", self.registrations)
    }
}

/// An authority whose certificates are valid for thirty days on both sides of now.
struct Factory(CertifiedIssuer<'static, KeyPair>);

impl Factory {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "factory");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        Ok(Self(CertifiedIssuer::self_signed(
            params,
            KeyPair::generate()?,
        )?))
    }

    fn device(&self, name: &str) -> Result<X509Attestation> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = Offset(-CERTIFICATE).now().into();
        params.not_after = Offset(CERTIFICATE).now().into();
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(X509Attestation::from_pem(
            certificate.pem(),
            key.serialize_pem(),
        )?)
    }
}
