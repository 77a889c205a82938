//! The options for a device that keeps and renews its certificates.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::key_source::KeySource;
use super::renewal::RenewalPlace;
use super::store::CredentialStore;

/// Options for obtaining, keeping and renewing certificates: for `ProvisionedDevice::with_certificates`.
///
/// The device registers with a certificate request, and connects to its hub with the issued certificate. At about 80 % of the
/// lifetime, a random time within a tenth of it, it renews the certificate with a new key. The old certificate stays in the store
/// until the hub has accepted the new one. A certificate that has expired or that the hub refuses leads to a registration with the
/// attestation that the device has for DPS.
///
/// ```no_run
/// # fn device(client: dps_device::ProvisioningClient) -> dps_device::ProvisionedDevice {
/// use dps_device::certificate::{CertificateOptions, CredentialFile, KeyKind, MemoryKeySource};
/// use dps_device::{AssignmentFile, ProvisionedDevice};
///
/// let store = CredentialFile::new("/var/lib/toaster/credential.json");
/// let options = CertificateOptions::new(store, MemoryKeySource::new(KeyKind::P256)).with_report();
/// ProvisionedDevice::new(client, AssignmentFile::new("/var/lib/toaster/assignment.json")).with_certificates(options)
/// # }
/// ```
///
/// See the page [Your first device in Rust](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/first-device.md#with-a-certificate-that-dps-issues) of the book.
#[derive(Clone)]
pub struct CertificateOptions {
    pub(crate) store: Arc<dyn CredentialStore>,
    pub(crate) keys: Arc<dyn KeySource>,
    pub(crate) place: RenewalPlace,
    pub(crate) report: bool,
    pub(crate) check_interval: Duration,
}

impl CertificateOptions {
    /// The default of [`with_check_interval`](Self::with_check_interval).
    pub const DEFAULT_CHECK_INTERVAL: Duration = Duration::from_secs(60);

    /// Keeps the certificates in this store, with keys from this source.
    pub fn new(store: impl CredentialStore + 'static, keys: impl KeySource + 'static) -> Self {
        Self {
            store: Arc::new(store),
            keys: Arc::new(keys),
            place: RenewalPlace::default(),
            report: false,
            check_interval: Self::DEFAULT_CHECK_INTERVAL,
        }
    }

    /// Sets where certificates are renewed. The default is the hub.
    #[must_use]
    pub fn with_renewal_at(mut self, place: RenewalPlace) -> Self {
        self.place = place;
        self
    }

    /// Writes the validity of the certificate in use to the reported properties, as `certificate.validFrom` and
    /// `certificate.validUntil`, so that operators see it.
    #[must_use]
    pub fn with_report(mut self) -> Self {
        self.report = true;
        self
    }

    /// Sets how often the device compares its clock with the time of the renewal: the clock of a device may jump. At least 10 ms.
    ///
    /// It is also the first wait after a certificate could not be stored. The wait doubles with every failure up to an hour.
    #[must_use]
    pub fn with_check_interval(mut self, interval: Duration) -> Self {
        self.check_interval = interval.max(Duration::from_millis(10));
        self
    }
}

impl fmt::Debug for CertificateOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateOptions")
            .field("store", &self.store)
            .field("keys", &self.keys)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
