//! The certificates a device presented, and how far its own stands below a certificate the operator trusts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::certificate::Certificate;

/// More than any real chain has, and few enough that a search through them is short.
const MOST_CERTIFICATES: usize = 16;

/// What a TLS client sent: its own certificate, and others to build a chain from, in any order.
#[derive(Debug, Clone)]
pub(crate) struct PresentedChain {
    leaf: Certificate,
    others: Vec<CertificateDer<'static>>,
}

/// Why a chain does not lead to an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChainError {
    #[error("a certificate of the chain has expired")]
    Expired,
    #[error("a certificate of the chain is not valid yet")]
    NotYetValid,
    #[error("the chain does not lead to the signing certificate")]
    NotAnchored,
    /// Also a signing certificate with the right name and another key.
    #[error("a signature in the chain is not the issuer's")]
    BrokenSignature,
    /// The leaf is an authority, or a certificate's extended key usage leaves clients out.
    #[error("the certificate is not one for TLS clients")]
    NotForClients,
    /// Not an authority, too long a path below it, or a name it may not sign.
    #[error("a certificate of the chain signed what it may not sign")]
    NotPermitted,
    #[error("a certificate of the chain is malformed or of an unsupported kind")]
    Malformed,
}

impl PresentedChain {
    /// Takes the peer's certificates as TLS gives them, the leaf first.
    pub(crate) fn new(presented: &[CertificateDer<'_>]) -> Result<Self, ChainError> {
        let (leaf, others) = presented.split_first().ok_or(ChainError::Malformed)?;
        if others.len() >= MOST_CERTIFICATES {
            return Err(ChainError::Malformed);
        }
        Ok(Self {
            leaf: Certificate::from_der(leaf.clone().into_owned())
                .map_err(|_| ChainError::Malformed)?,
            others: others.iter().map(|it| it.clone().into_owned()).collect(),
        })
    }

    pub(crate) fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// Verifies that the leaf is a TLS client's and that a chain leads from it to the anchor, and counts the
    /// intermediates between the two: 0 where the anchor itself signed the leaf.
    ///
    /// The anchor need not be self-signed, and may be among the presented certificates. Its validity and its
    /// constraints count like those of all others. A certificate is never its own anchor: a self-signed leaf is
    /// refused here, individual enrollments compare thumbprints.
    pub(crate) fn distance_to(
        &self,
        anchor: &Certificate,
        now: SystemTime,
    ) -> Result<usize, ChainError> {
        let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let trusted = [anchor_from_trusted_cert(anchor.der())?];
        let leaf = EndEntityCert::try_from(self.leaf.der())?;

        let distance = leaf
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &trusted,
                &self.others,
                UnixTime::since_unix_epoch(since_1970),
                KeyUsage::client_auth(),
                None,
                None,
            )?
            .intermediate_certificates()
            .count();

        if anchor.has_expired(now) {
            Err(ChainError::Expired)
        } else if anchor.is_early(now) {
            Err(ChainError::NotYetValid)
        } else if !anchor.may_sign_above(distance) {
            Err(ChainError::NotPermitted)
        } else {
            Ok(distance)
        }
    }
}

impl From<webpki::Error> for ChainError {
    fn from(error: webpki::Error) -> Self {
        use webpki::Error as E;
        match error {
            E::CertExpired { .. } => Self::Expired,
            E::CertNotValidYet { .. } => Self::NotYetValid,
            E::UnknownIssuer => Self::NotAnchored,
            E::InvalidSignatureForPublicKey => Self::BrokenSignature,
            E::CaUsedAsEndEntity | E::EmptyEkuExtension | E::RequiredEkuNotFoundContext(_) => {
                Self::NotForClients
            }
            E::EndEntityUsedAsCa
            | E::NameConstraintViolation
            | E::PathLenConstraintViolated
            | E::MaximumPathDepthExceeded => Self::NotPermitted,
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose,
        GeneralSubtree, IsCa, KeyPair, NameConstraints, PKCS_ECDSA_P256_SHA256,
        PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd,
    };
    use time::OffsetDateTime;

    use super::*;

    type Ca = CertifiedIssuer<'static, KeyPair>;

    fn now() -> SystemTime {
        date_time_ymd(2027, 6, 1).into()
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = Default::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    fn ca_params(name: &str) -> CertificateParams {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn key() -> KeyPair {
        KeyPair::generate().unwrap()
    }

    fn root() -> Ca {
        Ca::self_signed(ca_params("Root"), key()).unwrap()
    }

    fn below(name: &str, issuer: &Ca) -> Ca {
        Ca::signed_by(ca_params(name), key(), issuer).unwrap()
    }

    fn leaf(issuer: &Ca) -> CertificateDer<'static> {
        leaf_of(params("device-1"), issuer)
    }

    fn leaf_of(params: CertificateParams, issuer: &Ca) -> CertificateDer<'static> {
        params.signed_by(&key(), issuer).unwrap().into()
    }

    fn distance(
        presented: &[&CertificateDer<'static>],
        anchor: &CertificateDer<'static>,
    ) -> Result<usize, ChainError> {
        let presented: Vec<_> = presented.iter().copied().cloned().collect();
        let anchor = Certificate::from_der(anchor.clone()).unwrap();
        PresentedChain::new(&presented)?.distance_to(&anchor, now())
    }

    fn until(year: i32) -> OffsetDateTime {
        date_time_ymd(year, 1, 1)
    }

    #[test]
    fn counts_the_intermediates_between_leaf_and_anchor() {
        let root = root();
        let region = below("Region", &root);
        let factory = below("Factory", &region);
        let (r, g, f) = (root.der(), region.der(), factory.der());
        let direct = leaf(&root);
        let deep = leaf(&factory);

        assert_eq!(distance(&[&direct], r), Ok(0));
        assert_eq!(distance(&[&leaf(&region), g], r), Ok(1));
        assert_eq!(distance(&[&deep, f, g], r), Ok(2));
        assert_eq!(distance(&[&deep, f, g, r], r), Ok(2), "with the root");
        assert_eq!(distance(&[&deep, g, r, f], r), Ok(2), "out of order");
        assert_eq!(distance(&[&deep, f, g, r], g), Ok(1), "an intermediate");
        assert_eq!(distance(&[&deep, f, g, r], f), Ok(0), "the nearest");
        assert_eq!(distance(&[&deep], f), Ok(0), "nothing but the leaf");
    }

    #[test]
    fn a_missing_intermediate_breaks_the_chain() {
        let root = root();
        let region = below("Region", &root);
        let factory = below("Factory", &region);
        let deep = leaf(&factory);

        for presented in [
            vec![&deep],
            vec![&deep, factory.der()],
            vec![&deep, region.der()],
        ] {
            assert_eq!(
                distance(&presented, root.der()),
                Err(ChainError::NotAnchored)
            );
        }
    }

    #[test]
    fn an_authority_of_the_same_name_and_another_key_is_another() {
        let (ours, theirs) = (root(), root());
        let region = below("Region", &theirs);

        let direct = distance(&[&leaf(&theirs)], ours.der());
        assert_eq!(direct, Err(ChainError::BrokenSignature));
        let through = distance(&[&leaf(&region), region.der(), theirs.der()], ours.der());
        assert_eq!(through, Err(ChainError::BrokenSignature));

        let impostor = below("Region", &theirs);
        let forged = distance(&[&leaf(&impostor), region.der()], theirs.der());
        assert_eq!(forged, Err(ChainError::BrokenSignature));
    }

    #[test]
    fn a_renewed_authority_with_its_old_key_is_still_the_same() {
        let old = root();
        let mut renewed = ca_params("Root");
        renewed.serial_number = Some(2u64.into());
        let renewed = renewed.self_signed(old.key()).unwrap();
        let device = params("device-1").signed_by(&key(), &old).unwrap();

        assert_ne!(old.der(), renewed.der());
        assert_eq!(distance(&[device.der(), old.der()], renewed.der()), Ok(0));
    }

    #[test]
    fn every_certificate_must_be_valid_now() {
        let root = root();
        let region = below("Region", &root);
        let mut expired = params("device-1");
        expired.not_after = until(2027);
        let mut early = params("device-1");
        early.not_before = until(2028);
        let mut old_ca = ca_params("Old");
        old_ca.not_after = until(2027);
        let mut new_ca = ca_params("New");
        new_ca.not_before = until(2028);
        let (r, g) = (root.der(), region.der());

        let expired = leaf_of(expired, &region);
        assert_eq!(distance(&[&expired, g], r), Err(ChainError::Expired));
        let early = leaf_of(early, &region);
        assert_eq!(distance(&[&early, g], r), Err(ChainError::NotYetValid));

        let old = Ca::signed_by(old_ca.clone(), key(), &root).unwrap();
        let through = distance(&[&leaf(&old), old.der()], r);
        assert_eq!(through, Err(ChainError::Expired));
        assert_eq!(
            distance(&[&leaf(&old)], old.der()),
            Err(ChainError::Expired)
        );

        let new = Ca::self_signed(new_ca, key()).unwrap();
        let anchored = distance(&[&leaf(&new)], new.der());
        assert_eq!(anchored, Err(ChainError::NotYetValid));
    }

    #[test]
    fn each_certificate_must_be_for_its_use() {
        let root = root();
        let mut server = params("device-1");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let mut client = params("device-1");
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let r = root.der();

        assert_eq!(distance(&[&leaf_of(client, &root)], r), Ok(0));
        for wrong in [server, ca_params("device-1")] {
            let wrong = distance(&[&leaf_of(wrong, &root)], r);
            assert_eq!(wrong, Err(ChainError::NotForClients));
        }

        let no_ca = Ca::signed_by(params("No CA"), key(), &root).unwrap();
        let below = leaf(&no_ca);
        let through = distance(&[&below, no_ca.der()], r);
        assert_eq!(through, Err(ChainError::NotPermitted));
        let anchored = distance(&[&below], no_ca.der());
        assert_eq!(anchored, Err(ChainError::NotPermitted));
    }

    #[test]
    fn the_constraints_of_authorities_hold_for_the_anchor_too() {
        let mut short = ca_params("Short");
        short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let short = Ca::self_signed(short, key()).unwrap();
        let region = below("Region", &short);
        assert_eq!(distance(&[&leaf(&short)], short.der()), Ok(0));
        let long = distance(&[&leaf(&region), region.der()], short.der());
        assert_eq!(long, Err(ChainError::NotPermitted));

        let mut narrow = ca_params("Narrow");
        narrow.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("contoso.com".into())],
            excluded_subtrees: vec![],
        });
        let narrow = Ca::self_signed(narrow, key()).unwrap();
        let mut elsewhere = params("device-1");
        let san = rcgen::SanType::DnsName("device-1.fabrikam.com".try_into().unwrap());
        elsewhere.subject_alt_names = vec![san];
        let elsewhere = distance(&[&leaf_of(elsewhere, &narrow)], narrow.der());
        assert_eq!(elsewhere, Err(ChainError::NotPermitted));
    }

    #[test]
    fn a_self_signed_leaf_is_not_its_own_anchor() {
        let leaf = params("device-1").self_signed(&key()).unwrap();
        let alone = distance(&[leaf.der()], leaf.der());
        assert_eq!(alone, Err(ChainError::NotPermitted));

        let root = root();
        let authority = distance(&[root.der()], root.der());
        assert_eq!(authority, Err(ChainError::NotForClients));
    }

    #[test]
    fn every_usual_key_verifies() {
        for (ours, issuers) in [
            (&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384),
            (&PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P256_SHA256),
            (&PKCS_ED25519, &PKCS_ED25519),
        ] {
            let key = |of| KeyPair::generate_for(of).unwrap();
            let root = Ca::self_signed(ca_params("Root"), key(issuers)).unwrap();
            let device = params("device-1").signed_by(&key(ours), &root).unwrap();
            assert_eq!(distance(&[device.der()], root.der()), Ok(0));
        }

        let root = Certificate::from_text(RSA_ROOT).unwrap();
        let device = Certificate::from_text(RSA_DEVICE).unwrap();
        assert_eq!(distance(&[device.der()], root.der()), Ok(0));
    }

    #[test]
    fn rubbish_is_refused_and_does_not_hide_a_good_chain() {
        let root = root();
        let region = below("Region", &root);
        let leaf = leaf(&region);
        let rubbish = CertificateDer::from(b"rubbish".as_slice());
        let r = root.der();

        assert_eq!(distance(&[&leaf, &rubbish, region.der()], r), Ok(1));
        assert_eq!(distance(&[&rubbish], r), Err(ChainError::Malformed));
        assert_eq!(distance(&[], r), Err(ChainError::Malformed));
        assert_eq!(distance(&[&leaf; 17], r), Err(ChainError::Malformed));

        let mut tampered = leaf.to_vec();
        *tampered.last_mut().unwrap() ^= 1;
        let tampered = distance(&[&tampered.into(), region.der()], r);
        assert_eq!(tampered, Err(ChainError::BrokenSignature));
    }

    /// `CN=rsa-device` and its issuer, 2048 bits, made by OpenSSL, valid until November 2036.
    const RSA_ROOT: &str = "\
-----BEGIN CERTIFICATE-----
MIIDFzCCAf+gAwIBAgIUOGR3tz1oeBxxMDB07m8hC70N6GAwDQYJKoZIhvcNAQEL
BQAwEzERMA8GA1UEAwwIUlNBIFJvb3QwHhcNMjYxMTIxMjExOTMzWhcNMzYxMTE4
MjExOTMzWjATMREwDwYDVQQDDAhSU0EgUm9vdDCCASIwDQYJKoZIhvcNAQEBBQAD
ggEPADCCAQoCggEBAN9X415RmVscVSJxY3l9URhVcoMVKYmzcsS4/1/IcbEmuINS
mz/oeggOTSQslk20zjXEECFXUDYFQa6EKhb8478AQaK91vTP9WkM7tMNsgKRkalc
TjOJsC9dUqEH9ycbflQFhtKLEWLP9j5Fmxep6RbHmvO/p5Z5U9/ncVGGKKnHqSG7
Dbku5l/C24xvIbNuO688qesGekgtl4c204V7bf/uur7JrLtVSXRsgE9KXiQANy9B
tdSpKDlfvHXbutfIvRCg+8tVEdr3Yb9UKGs8Z0uQUng2OI0zmATwJb4ctKIWm1OJ
jNeYUc+sfteM8bI11Py3eRINkv5QDmBI8s/qIgcCAwEAAaNjMGEwHQYDVR0OBBYE
FAV0gWIKeoS+UZcqh3aBNCSAkqD2MB8GA1UdIwQYMBaAFAV0gWIKeoS+UZcqh3aB
NCSAkqD2MA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgIEMA0GCSqGSIb3
DQEBCwUAA4IBAQCg2s3IJKqsf4DXbpD6I13Z23W3WRp6z6BGk9K+MoGAc/DeX3bI
CnHtUsjBAzCbVQ3GPwR+gPYZKUbIsKE+R8vJtRXHLa28Njjrjqg1BWfOyxMkBIYI
5OrE2bIqmNd8ZjPi2dlc+HY6kBdjUmWsZRrB0zoluN9PGP1lxj6m+tVaG8foH6JK
xRPGxAEW1nFZ3IHjqIo6LA8ZSDLjPrLtqo7zbNr58/17UQH5USyEJAZ3FUEphL7O
5txN3RAyO6j1j9kaMvNt09NoTWqHIEisIHI1Pp/TN7pnTlgvAOogvlbrz1GK1Nue
0ruUNAGv3gEPJmEHDggq8al7840AIwHGzmzw
-----END CERTIFICATE-----
";
    const RSA_DEVICE: &str = "\
-----BEGIN CERTIFICATE-----
MIIDCDCCAfCgAwIBAgIBBzANBgkqhkiG9w0BAQsFADATMREwDwYDVQQDDAhSU0Eg
Um9vdDAeFw0yNjExMjEyMTE5MzRaFw0zNjExMTgyMTE5MzRaMBUxEzARBgNVBAMM
CnJzYS1kZXZpY2UwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQCgy/pX
l6Zsqw27Isjy4kCc0f+tPuhcsMBqIW2JE6VPRkMBEGmZSNLmuXgKTGTiNk44lA9e
Z1RN0nUlBBJrQb/xeMnXY0jWlZhlFeHGSnfkz8me/Crwfm6+DrWZP7+Tw1BFmx1q
8G6a+ev376uF7227l5UNlRDube871oQMYKJag01Hx2W12m1eryuoebJUNDeDVjQ2
ZEd2SwE7Fy0lguMaJTBp1zJGZRIXEC8Wi0tP4BIupII9UmgyF0wh9RLgH/ApVbTv
hG60CpGS6t3HsDn2WJPB37gS9QTGEFXalCxLfPwm/f3GbVwi+uPQjYrJGCAgMhYd
vN3+Z4mv01dNrj9dAgMBAAGjZTBjMAwGA1UdEwEB/wQCMAAwEwYDVR0lBAwwCgYI
KwYBBQUHAwIwHQYDVR0OBBYEFHjCz1CXDYsWpIezyQGOTOa27KtKMB8GA1UdIwQY
MBaAFAV0gWIKeoS+UZcqh3aBNCSAkqD2MA0GCSqGSIb3DQEBCwUAA4IBAQAa8zv0
SKZLnYBIQJtdT50CW8bEc0samJSvPbxLZSedV6vpBeQrPXMlQRtwXxJT6mpnoZrn
OxhMZJIQ8hM2XanXe3uD7YWMRWiTXL035jkyIeWFk+/TqiIEwJUg6M3Hma7368oI
aqKtsphVmraOPOlPn3iSKNzG5Vkntnd/SaPkz5P+5rCjNYe0/uxoY3AIsP/u1ckS
KbP2fRI2eDw9nD/tdFXGsdKUTo90gc3HXRuZ/jB57W8mPsCDxI5lRo6BReojKou/
dC+jixvhDnXjn39mmVdn4p/tZCoYOc6dZZA3dKgLxpwRylXcICw2oziqBjJrHYeU
ri/UOmXZcsI+iEF0
-----END CERTIFICATE-----
";
}
