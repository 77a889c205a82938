//! Which chains lead to an anchor: issuers, names, keys and order.

mod rules;
mod version_1;

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd,
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
) -> Result<usize, ChainRule> {
    let presented: Vec<_> = presented.iter().copied().cloned().collect();
    let anchor = Certificate::from_der(anchor.clone()).unwrap();
    PresentedChain::new(&presented)
        .and_then(|chain| chain.distance_to(&anchor, now()))
        .map_err(|error| error.rule())
}

/// A chain of a leaf alone, for tests that need any chain.
pub(in super::super) fn presented_leaf() -> PresentedChain {
    PresentedChain::new(&[leaf(&root())]).unwrap()
}

fn until(year: i32) -> OffsetDateTime {
    date_time_ymd(year, 1, 1)
}

fn leaf_of_issuer(issuer: &Issuer<'static, KeyPair>) -> CertificateDer<'static> {
    params("device-1").signed_by(&key(), issuer).unwrap().into()
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
            Err(ChainRule::NotAnchored)
        );
    }
}

#[test]
fn an_authority_of_the_same_name_and_another_key_is_another() {
    let (ours, theirs) = (root(), root());
    let region = below("Region", &theirs);

    let direct = distance(&[&leaf(&theirs)], ours.der());
    assert_eq!(direct, Err(ChainRule::BrokenSignature));
    let through = distance(&[&leaf(&region), region.der(), theirs.der()], ours.der());
    assert_eq!(through, Err(ChainRule::BrokenSignature));

    let impostor = below("Region", &theirs);
    let forged = distance(&[&leaf(&impostor), region.der()], theirs.der());
    assert_eq!(forged, Err(ChainRule::BrokenSignature));
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
fn a_renewed_intermediate_counts_if_the_old_one_has_expired() {
    let root = root();
    let line_key = key();
    let mut expired = ca_params("Line");
    expired.not_after = until(2027);
    let expired = expired.signed_by(&line_key, &root).unwrap();
    let mut renewed = ca_params("Line");
    renewed.serial_number = Some(2u64.into());
    let renewed = renewed.signed_by(&line_key, &root).unwrap();
    let issuer = Issuer::new(ca_params("Line"), line_key);
    let leaf = leaf_of_issuer(&issuer);
    let both = [&leaf, expired.der(), renewed.der()];
    assert_eq!(distance(&both, root.der()), Ok(1));
    let old = [&leaf, expired.der()];
    assert_eq!(distance(&old, root.der()), Err(ChainRule::Expired));
}

#[test]
fn a_chain_has_six_intermediates_at_most() {
    let root = root();
    let mut chain: Vec<Ca> = Vec::new();
    for level in 0..7 {
        let issuer = chain.last().unwrap_or(&root);
        let next = below(&format!("Level {level}"), issuer);
        chain.push(next);
    }
    for (count, expected) in [(6, Ok(6)), (7, Err(ChainRule::NotAnchored))] {
        let leaf = leaf(&chain[count - 1]);
        let mut presented = vec![&leaf];
        presented.extend(chain[..count].iter().map(Ca::der));
        assert_eq!(distance(&presented, root.der()), expected, "{count}");
    }
}

#[test]
fn a_key_identifier_of_another_issuer_excludes_one_of_the_same_name() {
    let (ours, theirs) = (root(), root());
    let mut device = params("device-1");
    device.use_authority_key_identifier_extension = true;
    let leaf = leaf_of(device, &theirs);
    assert_eq!(distance(&[&leaf], theirs.der()), Ok(0));
    assert_eq!(distance(&[&leaf], ours.der()), Err(ChainRule::NotAnchored));
}

#[test]
fn the_error_names_the_certificate_and_the_rule() {
    let root = root();
    let mut expired = params("device-1");
    expired.not_after = until(2027);
    let expired = leaf_of(expired, &root);
    let chain = PresentedChain::new(&[expired]).unwrap();
    let anchor = Certificate::from_der(root.der().clone()).unwrap();
    let error = chain.distance_to(&anchor, now()).unwrap_err().to_string();
    assert_eq!(
        error,
        "a certificate of the chain has expired: the validity of 'CN=device-1' ended 151 days ago \
             (at 2027-01-01T00:00:00Z; it is 2027-06-01T00:00:00Z)"
    );
    let stranger = Certificate::from_der(below("Region", &root).der().clone()).unwrap();
    let chain = PresentedChain::new(&[leaf(&root)]).unwrap();
    let error = chain.distance_to(&stranger, now()).unwrap_err().to_string();
    assert_eq!(
        error,
        "the chain does not lead to a trusted certificate: it ends at 'CN=device-1' with the issuer 'CN=Root'"
    );
}

/// A device that polls presents its chain again.
#[test]
fn the_signatures_of_a_chain_are_verified_once() {
    let root = root();
    let region = below("Region", &root);
    let mut params = params("device-1");
    params.not_after = until(2028);
    let presented = [leaf_of(params, &region), region.der().clone()];
    let chain = PresentedChain::new(&presented).unwrap();
    let anchor = Certificate::from_der(root.der().clone()).unwrap();
    let other = Certificate::from_der(self::root().der().clone()).unwrap();
    let search = |anchor: &Certificate, now| {
        let budget = SignatureBudget::default();
        let found = chain.anchors_above(&[anchor], now, &budget);
        let found = found.map(|found| found.into_values().collect::<Vec<_>>());
        (found.map_err(|error| error.rule()), budget.used())
    };

    assert_eq!(search(&anchor, now()), (Ok(vec![1]), 2));
    assert_eq!(search(&anchor, now()), (Ok(vec![1]), 0));
    // Everything else is checked again.
    let later = now() + Duration::from_secs(365 * 24 * 3600);
    assert_eq!(search(&anchor, later), (Err(ChainRule::Expired), 0));
    // A CA of the same name with another key, twice: no failure is kept.
    let refused = (Err(ChainRule::BrokenSignature), 1);
    assert_eq!(search(&other, now()), refused);
    assert_eq!(search(&other, now()), refused);
    assert_eq!(search(&anchor, now()), (Ok(vec![1]), 0));
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
fn unreadable_certificates_after_the_leaf_are_ignored() {
    let root = root();
    let region = below("Region", &root);
    let leaf = leaf(&region);
    let rubbish = CertificateDer::from(b"rubbish".as_slice());
    let r = root.der();

    assert_eq!(distance(&[&leaf, &rubbish, region.der()], r), Ok(1));
    assert_eq!(distance(&[&rubbish], r), Err(ChainRule::Malformed));
    assert_eq!(distance(&[], r), Err(ChainRule::Malformed));
    assert_eq!(distance(&[&leaf; 17], r), Err(ChainRule::Malformed));

    let mut tampered = leaf.to_vec();
    *tampered.last_mut().unwrap() ^= 1;
    let tampered = distance(&[&tampered.into(), region.der()], r);
    assert_eq!(tampered, Err(ChainRule::BrokenSignature));
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
