//! The schedule of a renewal at DPS, for a program that waits and registers on its own.

use std::time::{Duration, SystemTime};

use super::issued::IssuedCertificate;
use super::renewal::{self, Renewal, RenewalPlace};
use crate::poll::draw;

/// The time at which a certificate is renewed, and the waits after failures, for a program that renews the certificate at DPS on
/// its own: another program has the connection to the hub. [`CertificateOptions`](super::CertificateOptions) have the same
/// schedule for a device that renews with its connection.
///
/// A certificate is due at about 80 % of its lifetime, at a random time within a tenth of it, so that the devices of one batch do
/// not renew at once.
///
/// ```no_run
/// # async fn renew(
/// #     client: dps_device::ProvisioningClient, certificate: dps_device::certificate::IssuedCertificate,
/// # ) -> Result<dps_device::certificate::IssuedCertificate, dps_device::Error> {
/// use std::time::{Duration, SystemTime};
/// use dps_device::certificate::{CertificateRequest, KeyKind, KeyPair, RenewalSchedule};
/// use tokio::time::sleep;
///
/// let mut schedule = RenewalSchedule::new(&certificate);
/// while SystemTime::now() < schedule.due() {
///     sleep(Duration::from_secs(60)).await; // the clock of a device may jump
/// }
/// let id = certificate.registration_id();
/// loop {
///     let request = CertificateRequest::new(id.clone(), KeyPair::generate(KeyKind::P256)?).await?;
///     match client.register().certificate(request).await {
///         Ok((_, renewed)) => return Ok(renewed),
///         Err(error) => sleep(schedule.failed(error.retry_after())).await,
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct RenewalSchedule {
    due: SystemTime,
    renewal: Renewal,
}

impl RenewalSchedule {
    /// The schedule for this certificate.
    pub fn new(certificate: &IssuedCertificate) -> Self {
        let (from, until) = (certificate.valid_from(), certificate.valid_until());
        Self::due_at(renewal::due(from, until, draw()))
    }

    /// A schedule for a certificate that is renewed at this time.
    pub fn due_at(time: SystemTime) -> Self {
        Self {
            due: time,
            renewal: Renewal::new(RenewalPlace::Dps),
        }
    }

    /// The time at which the certificate is renewed.
    pub fn due(&self) -> SystemTime {
        self.due
    }

    /// The wait after a failed attempt: a minute, which doubles with every failure up to an hour, with a random part of a fifth,
    /// or `retry_after` if that is longer.
    pub fn failed(&mut self, retry_after: Option<Duration>) -> Duration {
        self.renewal.wait_at_dps(retry_after, draw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_double_up_to_an_hour_and_are_not_shorter_than_the_service_asks_for() {
        let mut schedule = RenewalSchedule::due_at(SystemTime::UNIX_EPOCH);
        for expected in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            let wait = schedule.failed(None).as_secs_f64() / f64::from(expected);
            assert!((0.79..1.21).contains(&wait), "{expected}: {wait}");
        }
        let hours = Duration::from_secs(3 * 3600);
        assert_eq!(schedule.failed(Some(hours)), hours);
    }
}
