//! Certificates of X.509 version 1, which have no extensions.

use std::time::Duration;

use super::*;
fn version_1() -> [Certificate; 2] {
    [
        include_str!("../../../../tests/behaviour/certificates/version-1-device.pem"),
        include_str!("../../../../tests/behaviour/certificates/version-1-root.pem"),
    ]
    .map(|pem| Certificate::from_text(pem).unwrap())
}

#[test]
fn a_device_certificate_of_version_1_is_verified_like_others() {
    let [device, root] = version_1();
    assert_eq!(device.info().version, 1);
    let alone = PresentedChain::new(&[device.der().clone()]).unwrap();
    let distance = |anchor, now| {
        let distance = alone.distance_to(anchor, now);
        distance.map_err(|error| error.rule())
    };
    assert_eq!(distance(&root, now()), Ok(0));
    let other = Certificate::from_der(super::root().der().clone()).unwrap();
    assert_eq!(distance(&other, now()), Err(ChainRule::NotAnchored));
    let in_200_years = now() + Duration::from_secs(200 * 365 * 24 * 60 * 60);
    assert_eq!(distance(&root, in_200_years), Err(ChainRule::Expired));

    let mut tampered = device.der().to_vec();
    *tampered.last_mut().unwrap() ^= 1;
    let tampered = PresentedChain::new(&[tampered.into()]).unwrap();
    let refused = tampered.distance_to(&root, now()).unwrap_err();
    assert_eq!(refused.rule(), ChainRule::BrokenSignature);
}

#[test]
fn a_certificate_of_version_1_signs_nothing_unless_it_is_the_anchor() {
    let [device, root] = version_1();
    let key = include_str!("../../../../tests/behaviour/certificates/version-1-key.pem");
    let below = version_1_issuer(&device, key);
    let leaf = leaf_of_issuer(&below);
    let through = distance(&[&leaf, device.der()], root.der());
    assert_eq!(through, Err(ChainRule::NotPermitted));
    assert_eq!(distance(&[&leaf], device.der()), Ok(0));
}

fn version_1_issuer(device: &Certificate, key: &str) -> Issuer<'static, KeyPair> {
    let name = device.common_name().unwrap();
    let mut params = ca_params(name);
    params.key_identifier_method = rcgen::KeyIdMethod::Sha256;
    Issuer::new(params, KeyPair::from_pem(key).unwrap())
}
