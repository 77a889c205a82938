//! Renews the certificate of a connected device. It runs with the driver of the connection and ends with it.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dps_types::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::handle::DeviceHandle;
use super::issue_certificate::IssueCertificate;
use super::monitor::DeviceState;
use crate::certificate::keeper::Keeper;
use crate::certificate::renewal::{Action, Renewal, Step, due};
use crate::certificate::{CertificateEvent, IssuedCertificate, RenewalPlace};
use crate::error::{Error, ErrorKind};
use crate::poll::{after, draw};

pub(super) struct Renewer {
    keeper: Arc<Keeper>,
    handle: DeviceHandle,
    /// The certificate that the schedule is for, and when it is renewed.
    scheduled: Option<(IssuedCertificate, SystemTime)>,
    /// A renewal in progress, its next step, and when that may start.
    renewal: Option<(Renewal, Step, Instant)>,
}

impl Renewer {
    pub(super) fn new(keeper: Arc<Keeper>, handle: DeviceHandle) -> Self {
        Self {
            keeper,
            handle,
            scheduled: None,
            renewal: None,
        }
    }

    /// Never ends: it is dropped with the connection.
    pub(super) async fn run(mut self) {
        loop {
            self.keeper.update_store().await;
            if let Some(certificate) = self.keeper.accepted() {
                self.in_use(&certificate).await;
            }
            let waits = [self.schedule(), self.keeper.store_wait()];
            let wait = waits.into_iter().flatten().min();
            tokio::select! {
                biased;
                () = self.keeper.changed.notified() => continue,
                () = wait_for(wait) => {}
            }
            self.look().await;
        }
    }

    /// The time until the next step. `None` without a certificate.
    fn schedule(&mut self) -> Option<Duration> {
        let newest = self.keeper.newest()?;
        if self
            .scheduled
            .as_ref()
            .is_none_or(|(scheduled, _)| *scheduled != newest)
        {
            let at = due(newest.valid_from(), newest.valid_until(), draw());
            self.scheduled = Some((newest, at));
            self.renewal = None;
        }
        let interval = self.keeper.options.check_interval;
        if self.is_left_to_the_driver() {
            return Some(interval);
        }
        if let Some((_, _, not_before)) = &self.renewal {
            return Some(not_before.saturating_duration_since(Instant::now()));
        }
        let (_, at) = self.scheduled.as_ref()?;
        let left = at.duration_since(self.keeper.now()).unwrap_or_default();
        Some(left.min(interval))
    }

    /// True if no certificate is valid and the device is not connected: the driver registers before it connects.
    fn is_left_to_the_driver(&self) -> bool {
        self.keeper.expired().is_some() && self.handle.state() != DeviceState::Connected
    }

    /// Does what is due.
    async fn look(&mut self) {
        let Some((_, at)) = &self.scheduled else {
            return;
        };
        if self.is_left_to_the_driver() {
            return;
        }
        if self.renewal.is_none() {
            if *at > self.keeper.now() {
                return;
            }
            let place = self.keeper.options.place;
            let renewal = Renewal::new(place);
            let step = renewal.first();
            self.event(CertificateEvent::Renewing(place));
            self.renewal = Some((renewal, step, Instant::now()));
        }
        let Some((mut renewal, step, not_before)) = self.renewal.take() else {
            return;
        };
        if not_before > Instant::now() {
            self.renewal = Some((renewal, step, not_before));
            return;
        }
        let was_at_hub = matches!(step.action, Action::AskHub { .. });
        let Err(error) = self.perform(step.action).await else {
            return;
        };
        let step = renewal.after_failure(&error, draw());
        let what = "the certificate could not be renewed";
        self.monitor().failed(what, &error, Some(step.after));
        if was_at_hub && step.action == Action::Register {
            self.event(CertificateEvent::Renewing(RenewalPlace::Dps));
        }
        let not_before = after(step.after);
        self.renewal = Some((renewal, step, not_before));
    }

    async fn perform(&self, action: Action) -> Result<(), Error> {
        let expired = self.keeper.expired();
        if expired.is_none() {
            self.keeper.check_store().await?;
        }
        let replace = match action {
            Action::Register => return self.handle.reprovision().await,
            Action::AskHub { replace } => replace,
        };
        if let Some(valid_until) = expired {
            self.event(CertificateEvent::Expired { valid_until });
            return self.handle.reprovision().await;
        }
        let hub = self.handle.hub().ok_or_else(|| {
            Error::new(ErrorKind::Connect, "the device has not found its hub yet")
        })?;
        let (key, request) = self.keeper.request().await?;
        let device = hub.device_id().clone();
        let issue = IssueCertificate::new(device, request.to_base64(), replace);
        let answer = self.handle.request(issue).await?;
        let certificate = IssuedCertificate::from_answer(&request, &answer, self.keeper.now())?;
        self.keeper.keep(key, certificate.clone()).await?;
        self.event(CertificateEvent::Issued(Box::new(certificate)));
        self.handle.renew().await
    }

    /// The hub accepted a new certificate.
    async fn in_use(&self, certificate: &IssuedCertificate) {
        self.event(CertificateEvent::InUse {
            valid_until: certificate.valid_until(),
        });
        if !self.keeper.options.report {
            return;
        }
        let [from, until] = [certificate.valid_from(), certificate.valid_until()]
            .map(|time| Timestamp::from(time).to_string());
        let report = json!({"certificate": {"validFrom": from, "validUntil": until}});
        if let Err(error) = self.handle.report(report).await {
            let what = "the validity of the certificate could not be reported";
            self.monitor().failed(what, &error, None);
        }
    }

    fn event(&self, event: CertificateEvent) {
        self.monitor().certificate(event);
    }

    fn monitor(&self) -> &super::monitor::Monitor {
        &self.handle.shared.monitor
    }
}

async fn wait_for(wait: Option<Duration>) {
    match wait {
        Some(wait) => sleep(wait).await,
        None => pending().await,
    }
}
