//! `dps renew`: renews the certificate that the service has issued to a device, once or as a daemon.

mod hook;
mod processes;

use std::time::{Duration, SystemTime};

use clap::{ArgGroup, Args};
use dps_device::certificate::RenewalSchedule;
use dps_device::{ProvisioningClient, RegistrationId};
use dps_types::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::issued::{Held, IssuedPlace, NewKeyOptions, stopped_before_it_was_stored};
use super::register::{PayloadOption, follow_issued};
use super::{DeviceOptions, stop};
use crate::certificate::KeyType;
use crate::context::Context;
use crate::document::add;
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
    /// describe the certificate, and DPS_PRIVATE_KEY names a key in hardware. It has five minutes. The earlier key in hardware is
    /// removed after the command has succeeded
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    #[command(flatten)]
    issued: IssuedOptions,
}

/// The place of an issued certificate. The names are those of `dps register`.
#[derive(Args)]
#[command(next_help_heading = "Issued certificate", group = ArgGroup::new("place_of_key")
    .args(["new_key", "new_key_pkcs11", "new_key_tpm"])
    .required(true))]
struct IssuedOptions {
    #[command(flatten)]
    new_key: NewKeyOptions,
    /// Kind of the new key
    #[arg(long, value_enum, default_value = "p256", value_name = "KIND")]
    key_type: KeyType,
    /// Replace files and keys that are not those of the issued certificate of this device. A single key in hardware without a
    /// certificate is always replaced, because a registration that is interrupted leaves one
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
    let issued = &renew.issued;
    let attestation = renew.device.attestation();
    let place = issued.new_key.place(issued.key_type.into(), attestation);
    let Some(place) = place.await? else {
        return Err(Failure::usage("the place of the new key is missing")
            .with_hint("use --new-key with --certificate-out, --new-key-pkcs11 or --new-key-tpm"));
    };
    let held = place.completed(&id, issued.overwrite).await?;
    let renewer = Renewer {
        renew: &renew,
        client,
        id,
        place,
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
    place: IssuedPlace,
    context: &'a Context,
}

impl Renewer<'_> {
    async fn once(&self, held: Option<Held>) -> Result {
        if let Some(held) = &held
            && !self.renew.now
        {
            let due = RenewalSchedule::new(&held.certificate).due();
            if SystemTime::now() < due {
                let mut document = self.describe(held, false);
                add(&mut document, "due", json!(Timestamp::from(due)));
                return self.context.output.item(document);
            }
        }
        let renewed = self.request(held.as_ref()).await?;
        self.place.store(&renewed).await?;
        self.context.output.item(self.describe(&renewed, true))?;
        tokio::select! {
            result = self.in_use(&renewed) => result,
            stopped = stop::requested() => {
                stopped?;
                let what = "the certificate was renewed, but dps was stopped before the command of --exec had ended or the earlier key \
                            was removed";
                Err(Failure::new(Exit::Partial, what))
            }
        }
    }

    async fn watch(&self, held: Option<Held>) -> Result {
        let mut events = Events::new(self.context.output);
        let mut unsaved = None;
        let result = tokio::select! {
            result = self.renew_for_ever(held, &mut events, &mut unsaved) => result,
            stopped = stop::requested() => stopped.map_err(Failure::from),
        };
        events.finish()?;
        let Some(issued) = unsaved else {
            return result;
        };
        let failure = result.err().unwrap_or_else(stopped_before_it_was_stored);
        Err(self.place.with_certificate(failure, &issued))
    }

    /// Ends with the first failure that another attempt cannot change.
    async fn renew_for_ever(
        &self,
        held: Option<Held>,
        events: &mut Events,
        unsaved: &mut Option<Held>,
    ) -> Result {
        let mut schedule = match &held {
            Some(held) if !self.renew.now => RenewalSchedule::new(&held.certificate),
            _ => RenewalSchedule::due_at(SystemTime::now()),
        };
        loop {
            self.context.output.note(format_args!(
                "the certificate is renewed at {}",
                Timestamp::from(schedule.due())
            ));
            until(schedule.due()).await;
            let renewed = loop {
                match self.attempt(unsaved).await {
                    Ok(renewed) => break renewed,
                    Err(failure) if ends(&failure) => return Err(failure),
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
            events.push(self.describe(&renewed, true))?;
            if let Err(failure) = self.in_use(&renewed).await {
                if ends(&failure) {
                    return Err(failure);
                }
                failure.print(self.context.output.format());
            }
            schedule = RenewalSchedule::new(&renewed.certificate);
            sleep(PAUSE).await;
        }
    }

    /// Obtains a certificate, and puts it into use. One that was issued and could not be stored is stored first, because the service
    /// issues at most 20 certificates to a device in 24 hours.
    async fn attempt(&self, unsaved: &mut Option<Held>) -> Result<Held> {
        let request = async || {
            let overwrite = self.renew.issued.overwrite;
            let held = self.place.completed(&self.id, overwrite).await?;
            self.request(held.as_ref()).await
        };
        self.place.store_or_request(unsaved, request).await
    }

    /// Registers with a certificate request. `held` is the certificate in use, whose key stays.
    async fn request(&self, held: Option<&Held>) -> Result<Held> {
        self.place.check_writable(held).await?;
        let payload = self.renew.payload.value()?;
        let (name, request) = self.place.request(&self.id, held).await?;
        let mut registration = self.client.register().timeout(self.renew.device.timeout());
        if let Some(payload) = payload {
            registration = registration.payload(payload);
        }
        let registration = registration.certificate(request);
        match follow_issued(registration.events(), self.context).await {
            Ok((_, certificate)) => Ok(Held { name, certificate }),
            Err(failure) => {
                // If it cannot be removed, the next attempt replaces it.
                let _ = self.place.discard_file();
                Err(failure)
            }
        }
    }

    /// Runs the command, which can announce the new key to other programs, and removes the key of the earlier certificate.
    async fn in_use(&self, renewed: &Held) -> Result {
        if let Some(command) = &self.renew.exec {
            hook::run(command, &self.place, renewed).await?;
        }
        self.place.remove_others(renewed).await
    }

    fn describe(&self, held: &Held, renewed: bool) -> Value {
        json!({
            "registrationId": self.id,
            "renewed": renewed,
            "certificate": self.place.describe(held),
        })
    }
}

/// True if another attempt cannot change the failure, or would replace what another program has stored.
fn ends(failure: &Failure) -> bool {
    matches!(failure.exit(), Exit::Usage | Exit::Conflict)
}

/// Waits until this time of the clock.
async fn until(time: SystemTime) {
    while let Ok(left) = time.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        sleep(left.min(CHECK)).await;
    }
}
