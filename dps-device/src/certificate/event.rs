//! Events about the certificate of a device, for the program and for the log.

use std::time::SystemTime;

use super::issued::IssuedCertificate;
use super::renewal::RenewalPlace;

/// Something that happened to the certificate of a device. Failures are
/// [`DeviceEvent::Failed`](crate::DeviceEvent::Failed).
///
/// ```
/// # fn print(event: dps_device::DeviceEvent) {
/// use dps_device::DeviceEvent;
/// use dps_device::certificate::CertificateEvent;
///
/// match event {
///     DeviceEvent::Certificate(CertificateEvent::Issued(certificate)) => println!("until {:?}", certificate.valid_until()),
///     DeviceEvent::Certificate(CertificateEvent::InUse { .. }) => println!("the hub accepted it"),
///     _ => {}
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CertificateEvent {
    /// The certificate is due, and its renewal starts there.
    Renewing(RenewalPlace),
    /// DPS or the hub issued a certificate, which is stored next to the one in use.
    Issued(Box<IssuedCertificate>),
    /// The hub accepted a new certificate. The one before was removed.
    #[non_exhaustive]
    InUse {
        /// The end of its validity.
        valid_until: SystemTime,
    },
    /// The certificate has expired: the device registers with DPS.
    #[non_exhaustive]
    Expired {
        /// The end of its validity.
        valid_until: SystemTime,
    },
}
