//! `dps renew`: renews the certificate that the service has issued to a device, once or as a daemon.

mod hook;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Args;
use dps_device::certificate::{
    CertificateRequest, Credential, IssuedCertificate, KeySource, MemoryKeySource, RenewalSchedule,
};
use dps_device::{ProvisioningClient, RegistrationId};
use dps_types::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::issued::IssuedFiles;
use super::register::{PayloadOption, follow_issued};
use super::{DeviceOptions, stop};
use crate::certificate::KeyType;
use crate::context::Context;
use crate::failure::{Exit, Failure, Result};
use crate::output::Events;

#[derive(Args)]
pub(crate) struct Renew {
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    payload: PayloadOption,
    /// Renew the certificate although it is not due
    #[arg(long)]
    now: bool,
    /// Run until SIGTERM or Ctrl-C, and renew the certificate each time that it is due. A renewal that fails is tried again after a
    /// minute, and then after twice the time, up to an hour
    #[arg(long, visible_alias = "daemon")]
    watch: bool,
    /// Command for the shell after each renewal. DPS_CERTIFICATE_FILE, DPS_PRIVATE_KEY_FILE, DPS_REGISTRATION_ID and DPS_VALID_UNTIL
    /// describe the certificate. It has five minutes
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    #[command(flatten)]
    issued: IssuedOptions,
}

/// The files of an issued certificate. The names are those of `dps register`.
#[derive(Args)]
#[command(next_help_heading = "Issued certificate")]
struct IssuedOptions {
    /// File with the private key of the issued certificate
    #[arg(long, value_name = "FILE")]
    new_key: PathBuf,
    /// File with the issued certificate and its issuers. With the same name as --new-key, one file contains all
    #[arg(long, value_name = "FILE")]
    certificate_out: PathBuf,
    /// Kind of the new key
    #[arg(long, value_enum, default_value = "p256", value_name = "KIND")]
    key_type: KeyType,
    /// Replace files that are not the issued certificate of this device
    #[arg(long, visible_alias = "force")]
    overwrite: bool,
}

/// The shortest time between two renewals.
const PAUSE: Duration = Duration::from_secs(60);
/// The time after which a wait compares the clock again: the clock of a device may jump.
const CHECK: Duration = Duration::from_secs(60);

pub(crate) async fn run(renew: Renew, context: &Context) -> Result {
    let client = renew.device.client(context).await?;
    let id = client.registration_id().clone();
    let files = IssuedFiles::new(&renew.issued.new_key, &renew.issued.certificate_out);
    files.complete(&id).await?;
    let held = match files.certificate(&id).await {
        Err(failure) if !renew.issued.overwrite => return Err(failure),
        held => held.unwrap_or_default(),
    };
    let renewer = Renewer {
        renew: &renew,
        client,
        id,
        files,
        context,
    };
    match renew.watch {
        false => renewer.once(held).await,
        true => renewer.watch(held).await,
    }
}

struct Renewer<'a> {
    renew: &'a Renew,
    client: ProvisioningClient,
    id: RegistrationId,
    files: IssuedFiles,
    context: &'a Context,
}

impl Renewer<'_> {
    async fn once(&self, held: Option<IssuedCertificate>) -> Result {
        if let Some(held) = &held
            && !self.renew.now
        {
            let due = RenewalSchedule::new(held).due();
            if SystemTime::now() < due {
                let mut document = self.describe(held, false);
                document["due"] = json!(Timestamp::from(due));
                return self.context.output.item(document);
            }
        }
        let certificate = self.attempt().await?;
        self.context
            .output
            .item(self.describe(&certificate, true))?;
        self.hook(&certificate).await
    }

    async fn watch(&self, held: Option<IssuedCertificate>) -> Result {
        let mut events = Events::new(self.context.output);
        let result = tokio::select! {
            result = self.renew_for_ever(held, &mut events) => result,
            stopped = stop::requested() => stopped.map_err(Failure::from),
        };
        events.finish()?;
        result
    }

    /// Ends with the first failure that another attempt cannot change.
    async fn renew_for_ever(&self, held: Option<IssuedCertificate>, events: &mut Events) -> Result {
        let mut schedule = match &held {
            Some(held) if !self.renew.now => RenewalSchedule::new(held),
            _ => RenewalSchedule::due_at(SystemTime::now()),
        };
        loop {
            self.context.output.note(format_args!(
                "the certificate is renewed at {}",
                Timestamp::from(schedule.due())
            ));
            until(schedule.due()).await;
            let certificate = loop {
                match self.attempt().await {
                    Ok(certificate) => break certificate,
                    Err(failure) if failure.exit() == Exit::Usage => return Err(failure),
                    Err(failure) => {
                        failure.print(self.context.output.format());
                        let wait = schedule.failed(failure.retry_after());
                        self.context.output.note(format_args!(
                            "the next attempt is in {:.0} s",
                            wait.as_secs_f64()
                        ));
                        sleep(wait).await;
                    }
                }
            };
            events.push(self.describe(&certificate, true))?;
            if let Err(failure) = self.hook(&certificate).await {
                failure.print(self.context.output.format());
            }
            schedule = RenewalSchedule::new(&certificate);
            sleep(PAUSE).await;
        }
    }

    /// Registers with a certificate request, and replaces the files.
    async fn attempt(&self) -> Result<IssuedCertificate> {
        // The service issues at most 20 certificates to a device in 24 hours.
        self.files.check_writable()?;
        let keys = MemoryKeySource::new(self.renew.issued.key_type.into());
        let (name, key) = keys.generate(&[]).await?;
        let request = CertificateRequest::new(self.id.clone(), key).await?;
        let mut registration = self.client.register().timeout(self.renew.device.timeout());
        if let Some(payload) = self.renew.payload.value()? {
            registration = registration.payload(payload);
        }
        let registration = registration.certificate(request);
        let (_, certificate) = follow_issued(registration.events(), self.context).await?;
        let credential = Credential::new(name, &certificate);
        self.files.replace(&credential).await?;
        Ok(certificate)
    }

    async fn hook(&self, certificate: &IssuedCertificate) -> Result {
        match &self.renew.exec {
            Some(command) => hook::run(command, &self.files, certificate).await,
            None => Ok(()),
        }
    }

    fn describe(&self, certificate: &IssuedCertificate, renewed: bool) -> Value {
        json!({
            "registrationId": self.id,
            "renewed": renewed,
            "certificate": self.files.describe(certificate),
        })
    }
}

/// Waits until this time of the clock.
async fn until(time: SystemTime) {
    while let Ok(left) = time.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        sleep(left.min(CHECK)).await;
    }
}
