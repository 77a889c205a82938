//! Issues certificates: for devices in tests, and for the emulator's own server.

mod authority;
mod device;
mod files;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod request;
mod server;
pub(crate) mod subject;

use std::ops::Range;
use std::time::{Duration, SystemTime};

use dps_types::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;

pub use authority::CertificateAuthority;
pub use device::DeviceCredentials;
pub(crate) use server::{ServerAuthority, SharedKind};

use crate::error::{Error, ErrorKind};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn authority_params(
    subject: DistinguishedName,
    validity: Range<SystemTime>,
) -> CertificateParams {
    let mut params = params(subject, validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn device_params(
    subject: DistinguishedName,
    validity: Range<SystemTime>,
) -> CertificateParams {
    let mut params = params(subject, validity);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn params(subject: DistinguishedName, validity: Range<SystemTime>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.not_before = whole_second(validity.start);
    params.not_after = whole_second(validity.end);
    params.use_authority_key_identifier_extension = true;
    params
}

fn new_key() -> Result<KeyPair, Error> {
    KeyPair::generate().map_err(generate)
}

fn years(count: u32) -> Range<SystemTime> {
    let now = match cfg!(fuzzing) {
        // The coverage, which selects the inputs of a fixed run, must not depend on the time.
        true => SystemTime::UNIX_EPOCH + 20_000 * DAY,
        false => SystemTime::now(),
    };
    now - DAY..now + 365 * count * DAY
}

/// Moves times that no certificate can hold back into range, as [`Timestamp`] does.
fn whole_second(moment: SystemTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(Timestamp::from(moment).unix_seconds())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

pub(crate) fn generate(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Certificate, "the certificate could not be made").with_source(error)
}
