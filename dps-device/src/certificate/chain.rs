//! Checks an issued chain before the device keeps it: order, signatures, validity, common name and public key.

use std::time::{Duration, SystemTime};

use dps_types::{RegistrationId, Timestamp};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use super::fault::{CertificateFault as Fault, MAX_CERTIFICATES};
use crate::attestation::x509::common_name_of;

/// The maximum time by which the start of a validity may be in the future: the clocks of the device and of the service differ.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// An issued chain that passed the checks.
pub(super) struct CheckedChain {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) valid_from: SystemTime,
    pub(super) valid_until: SystemTime,
}

/// The device and the key that the chain must be for.
pub(super) struct Expected<'a> {
    pub(super) registration_id: &'a RegistrationId,
    /// SubjectPublicKeyInfo, DER.
    pub(super) public_key: &'a [u8],
    /// `None` does not check that the certificates are valid now: a stored certificate may have expired.
    pub(super) now: Option<SystemTime>,
}

/// Checks a chain: the device's certificate, then each issuer up to the root.
pub(super) fn check(ders: Vec<Vec<u8>>, expected: &Expected<'_>) -> Result<CheckedChain, Fault> {
    match ders.len() {
        0 => return Err(Fault::Missing),
        1 => return Err(Fault::NoIssuer),
        found if found > MAX_CERTIFICATES => {
            return Err(Fault::TooMany { found });
        }
        _ => {}
    }
    let parsed = ders
        .iter()
        .enumerate()
        .map(|(index, der)| {
            Certificate::from_der(der).map_err(|_| Fault::Malformed {
                position: index + 1,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let leaf = parsed.first().ok_or(Fault::Missing)?;
    check_order(&parsed)?;
    check_subject(leaf, expected)?;
    let at = check_validity(&parsed, expected.now)?;
    let certificates: Vec<_> = ders.into_iter().map(CertificateDer::from).collect();
    check_signatures(&certificates, at)?;
    let (valid_from, valid_until) = validity(leaf);
    Ok(CheckedChain {
        certificates,
        valid_from,
        valid_until,
    })
}

/// True if the certificate names itself as its issuer.
pub(super) fn is_self_issued(der: &[u8]) -> bool {
    Certificate::from_der(der).is_ok_and(|certificate| {
        let inner = certificate.tbs_certificate();
        inner.issuer() == inner.subject()
    })
}

fn check_order(chain: &[Certificate]) -> Result<(), Fault> {
    let mut pairs = chain.iter().zip(chain.iter().skip(1));
    let wrong = pairs.position(|(certificate, issuer)| {
        certificate.tbs_certificate().issuer() != issuer.tbs_certificate().subject()
    });
    match wrong {
        Some(index) => Err(Fault::Order {
            position: index + 1,
        }),
        None => Ok(()),
    }
}

fn check_subject(leaf: &Certificate, expected: &Expected<'_>) -> Result<(), Fault> {
    let found = common_name_of(leaf);
    let is_ours = found
        .as_deref()
        .and_then(|name| RegistrationId::new(name).ok())
        .is_some_and(|name| name == *expected.registration_id);
    if !is_ours {
        return Err(Fault::OtherDevice {
            found,
            expected: expected.registration_id.clone(),
        });
    }
    let public_key = leaf.tbs_certificate().subject_public_key_info().to_der();
    match public_key {
        Ok(public_key) if public_key == expected.public_key => Ok(()),
        _ => Err(Fault::OtherKey),
    }
}

/// Returns the time at which the signatures are checked.
fn check_validity(chain: &[Certificate], now: Option<SystemTime>) -> Result<SystemTime, Fault> {
    let start = chain
        .iter()
        .map(|certificate| validity(certificate).0)
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH);
    let Some(now) = now else {
        return Ok(start);
    };
    for (index, certificate) in chain.iter().enumerate() {
        let position = index + 1;
        let (from, until) = validity(certificate);
        if from > now + CLOCK_TOLERANCE {
            return Err(Fault::NotYetValid {
                position,
                from: Timestamp::from(from),
            });
        }
        if until <= now {
            return Err(Fault::Expired {
                position,
                until: Timestamp::from(until),
            });
        }
    }
    Ok(now.max(start))
}

/// The end of the validity of a certificate (DER). `None` if it cannot be read.
#[cfg(feature = "hub")]
pub(super) fn end_of_validity(certificate: &[u8]) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    Some(validity(&certificate).1)
}

fn validity(certificate: &Certificate) -> (SystemTime, SystemTime) {
    let validity = certificate.tbs_certificate().validity();
    (
        validity.not_before.to_system_time(),
        validity.not_after.to_system_time(),
    )
}

/// Checks each signature, the constraints of each issuer, and that the certificate is for client authentication.
fn check_signatures(chain: &[CertificateDer<'_>], at: SystemTime) -> Result<(), Fault> {
    let invalid = |error: webpki::Error| Fault::Invalid {
        reason: error.to_string(),
    };
    let [leaf, intermediates @ .., root] = chain else {
        return Err(Fault::NoIssuer);
    };
    let anchors = [anchor_from_trusted_cert(root).map_err(invalid)?];
    let leaf = EndEntityCert::try_from(leaf).map_err(invalid)?;
    let at = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let path = leaf
        .verify_for_usage(
            ring::default_provider()
                .signature_verification_algorithms
                .all,
            &anchors,
            intermediates,
            UnixTime::since_unix_epoch(at),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(invalid)?;
    // webpki also accepts certificates that it does not need.
    match path.intermediate_certificates().count() {
        used if used == intermediates.len() => Ok(()),
        used => Err(Fault::Order { position: used + 1 }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
        IsCa, KeyPair, PublicKeyData, date_time_ymd,
    };

    use super::*;

    const DEVICE: &str = "toaster-0815";

    struct Chain {
        ders: Vec<Vec<u8>>,
        public_key: Vec<u8>,
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = Default::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2026, 11, 1);
        params.not_after = date_time_ymd(2026, 12, 1);
        params
    }

    fn authority(name: &str) -> CertificateParams {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn chain_with(edit: impl FnOnce(&mut CertificateParams)) -> Chain {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
        let issuing = CertifiedIssuer::signed_by(authority("issuing"), key(), &root).unwrap();
        let device = key();
        let mut leaf = params(DEVICE);
        edit(&mut leaf);
        let leaf = leaf.signed_by(&device, &issuing).unwrap();
        Chain {
            ders: vec![
                leaf.der().to_vec(),
                issuing.der().to_vec(),
                root.der().to_vec(),
            ],
            public_key: device.subject_public_key_info(),
        }
    }

    fn chain() -> Chain {
        chain_with(|_| {})
    }

    fn day(day: u8) -> SystemTime {
        let date = date_time_ymd(2026, 11, day);
        UNIX_EPOCH + Duration::from_secs(date.unix_timestamp().try_into().unwrap())
    }

    fn check_at(chain: &Chain, now: Option<SystemTime>) -> Result<CheckedChain, Fault> {
        let id = DEVICE.parse().unwrap();
        let expected = Expected {
            registration_id: &id,
            public_key: &chain.public_key,
            now,
        };
        check(chain.ders.clone(), &expected)
    }

    fn fault(chain: &Chain) -> Fault {
        check_at(chain, Some(day(15))).err().expect("a fault")
    }

    #[test]
    fn a_sound_chain_has_its_validity() {
        let checked = check_at(&chain(), Some(day(15))).unwrap();
        assert_eq!(checked.certificates.len(), 3);
        assert_eq!(checked.valid_from, day(1));
        assert_eq!(checked.valid_until, day(30) + Duration::from_secs(86400));
    }

    #[test]
    fn a_chain_that_ends_below_the_root_is_accepted() {
        let mut chain = chain();
        chain.ders.pop();
        check_at(&chain, Some(day(15))).unwrap();
    }

    #[test]
    fn the_number_of_certificates_is_limited() {
        let mut chain = chain();
        while chain.ders.len() <= MAX_CERTIFICATES {
            chain.ders.push(chain.ders[2].clone());
        }
        assert_eq!(fault(&chain), Fault::TooMany { found: 9 });
        chain.ders.truncate(1);
        assert_eq!(fault(&chain), Fault::NoIssuer);
        chain.ders.clear();
        assert_eq!(fault(&chain), Fault::Missing);
    }

    #[test]
    fn another_order_is_refused() {
        for (a, b, position) in [(0, 1, 1), (1, 2, 1)] {
            let mut chain = chain();
            chain.ders.swap(a, b);
            assert_eq!(fault(&chain), Fault::Order { position });
        }
        let mut chain = chain();
        chain.ders.push(chain.ders[1].clone());
        assert_eq!(fault(&chain), Fault::Order { position: 3 });
        // The same root twice: the second is not needed.
        chain.ders[3] = chain.ders[2].clone();
        assert!(matches!(fault(&chain), Fault::Order { .. }));
    }

    #[test]
    fn an_issuer_with_the_same_name_and_another_key_is_refused() {
        let (mut chain, other) = (chain(), self::chain());
        chain.ders[1] = other.ders[1].clone();
        assert!(matches!(fault(&chain), Fault::Invalid { .. }));
        chain.ders[2] = other.ders[2].clone();
        assert!(matches!(fault(&chain), Fault::Invalid { .. }));
    }

    #[test]
    fn a_certificate_for_another_purpose_is_refused() {
        let server = chain_with(|leaf| {
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        });
        assert!(matches!(fault(&server), Fault::Invalid { .. }));
        let client = chain_with(|leaf| {
            leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        check_at(&client, Some(day(15))).unwrap();
    }

    #[test]
    fn the_validity_is_checked_unless_the_certificate_was_stored() {
        let chain = chain();
        let early = day(1) - Duration::from_secs(299);
        check_at(&chain, Some(early)).unwrap();
        let error = |now| check_at(&chain, Some(now)).err().unwrap();
        let too_early = day(1) - Duration::from_secs(301);
        assert!(matches!(
            error(too_early),
            Fault::NotYetValid { position: 1, .. }
        ));
        let end = day(30) + Duration::from_secs(86400);
        assert!(matches!(error(end), Fault::Expired { position: 1, .. }));
        check_at(&chain, None).unwrap();
    }

    #[test]
    fn a_certificate_for_another_device_or_key_is_refused() {
        let other = chain_with(|leaf| {
            leaf.distinguished_name = Default::default();
            leaf.distinguished_name
                .push(DnType::CommonName, "toaster-1");
        });
        let id: RegistrationId = DEVICE.parse().unwrap();
        let expected = Fault::OtherDevice {
            found: Some("toaster-1".to_owned()),
            expected: id.clone(),
        };
        assert_eq!(fault(&other), expected);
        let unnamed = chain_with(|leaf| leaf.distinguished_name = Default::default());
        let expected = Fault::OtherDevice {
            found: None,
            expected: id,
        };
        assert_eq!(fault(&unnamed), expected);
        let mut chain = chain();
        chain.public_key = KeyPair::generate().unwrap().subject_public_key_info();
        assert_eq!(fault(&chain), Fault::OtherKey);
    }

    #[test]
    fn a_damaged_certificate_has_its_position() {
        for index in 0..3 {
            let mut chain = chain();
            chain.ders[index].truncate(40);
            let position = index + 1;
            assert_eq!(fault(&chain), Fault::Malformed { position });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_changed_byte_is_found_in_the_certificates_below_the_root(
            index in 0_usize..2,
            at in any::<prop::sample::Index>(),
            with in 1_u8..,
        ) {
            let mut chain = chain();
            let at = at.index(chain.ders[index].len());
            chain.ders[index][at] ^= with;
            prop_assert!(check_at(&chain, Some(day(15))).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(ders in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..10)) {
            let chain = Chain { ders, public_key: Vec::new() };
            prop_assert!(check_at(&chain, Some(day(15))).is_err());
        }
    }
}
