//! The rules for each certificate of a chain: validity, usage and constraints.

use rcgen::{
    CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, KeyUsagePurpose, NameConstraints,
};

use super::*;
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
    assert_eq!(distance(&[&expired, g], r), Err(ChainRule::Expired));
    let early = leaf_of(early, &region);
    assert_eq!(distance(&[&early, g], r), Err(ChainRule::NotYetValid));

    let old = Ca::signed_by(old_ca.clone(), key(), &root).unwrap();
    let through = distance(&[&leaf(&old), old.der()], r);
    assert_eq!(through, Err(ChainRule::Expired));
    assert_eq!(distance(&[&leaf(&old)], old.der()), Err(ChainRule::Expired));

    let new = Ca::self_signed(new_ca, key()).unwrap();
    let anchored = distance(&[&leaf(&new)], new.der());
    assert_eq!(anchored, Err(ChainRule::NotYetValid));
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
        assert_eq!(wrong, Err(ChainRule::NotForClients));
    }

    let no_ca = Ca::signed_by(params("No CA"), key(), &root).unwrap();
    let below = leaf(&no_ca);
    let through = distance(&[&below, no_ca.der()], r);
    assert_eq!(through, Err(ChainRule::NotPermitted));
    let anchored = distance(&[&below], no_ca.der());
    assert_eq!(anchored, Err(ChainRule::NotPermitted));
}

#[test]
fn the_constraints_of_authorities_hold_for_the_anchor_too() {
    let mut short = ca_params("Short");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short = Ca::self_signed(short, key()).unwrap();
    let region = below("Region", &short);
    assert_eq!(distance(&[&leaf(&short)], short.der()), Ok(0));
    let long = distance(&[&leaf(&region), region.der()], short.der());
    assert_eq!(long, Err(ChainRule::NotPermitted));

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
    assert_eq!(elsewhere, Err(ChainRule::NotPermitted));
}

#[test]
fn a_self_signed_leaf_is_not_its_own_anchor() {
    let leaf = params("device-1").self_signed(&key()).unwrap();
    let alone = distance(&[leaf.der()], leaf.der());
    assert_eq!(alone, Err(ChainRule::NotPermitted));

    let root = root();
    let authority = distance(&[root.der()], root.der());
    assert_eq!(authority, Err(ChainRule::NotForClients));
}

#[test]
fn an_authority_whose_key_usage_forbids_it_signs_nothing() {
    let mut forbidden = ca_params("CA");
    forbidden.key_usages = vec![KeyUsagePurpose::CrlSign];
    let mut allowed = ca_params("CA");
    allowed.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = root();
    for (params, expected) in [
        (forbidden, [Err(ChainRule::NotPermitted); 2]),
        (allowed, [Ok(1), Ok(0)]),
    ] {
        let ca = Ca::signed_by(params, key(), &root).unwrap();
        let leaf = leaf(&ca);
        let as_intermediate = distance(&[&leaf, ca.der()], root.der());
        let as_anchor = distance(&[&leaf], ca.der());
        assert_eq!([as_intermediate, as_anchor], expected);
    }
}

#[test]
fn a_leaf_whose_key_usage_forbids_signatures_is_not_a_client() {
    let root = root();
    for (usage, expected) in [
        (
            KeyUsagePurpose::KeyEncipherment,
            Err(ChainRule::NotForClients),
        ),
        (KeyUsagePurpose::DigitalSignature, Ok(0)),
    ] {
        let mut device = params("device-1");
        device.key_usages = vec![usage];
        assert_eq!(distance(&[&leaf_of(device, &root)], root.der()), expected);
    }
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let critical = || {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        extension
    };
    let root = root();
    let mut device = params("device-1");
    device.custom_extensions = vec![critical()];
    let refused = Err(ChainRule::Malformed);
    assert_eq!(distance(&[&leaf_of(device, &root)], root.der()), refused);
    let mut line = ca_params("Line");
    line.custom_extensions = vec![critical()];
    let line = Ca::signed_by(line, key(), &root).unwrap();
    let leaf = leaf(&line);
    let through = distance(&[&leaf, line.der()], root.der());
    assert!(through.is_err(), "{through:?}");
    assert_eq!(distance(&[&leaf], line.der()), refused);
}

/// webpki does not read these extensions, so an intermediate may not have them as critical ones.
#[test]
fn only_an_anchor_may_have_critical_extensions_of_policies() {
    let root = root();
    for (last, content) in [
        (32, vec![0x30, 8, 0x30, 6, 6, 4, 0x55, 0x1d, 0x20, 0]),
        (36, vec![0x30, 3, 0x80, 1, 0]),
        (54, vec![2, 1, 0]),
    ] {
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, last], content);
        extension.set_criticality(true);
        let mut line = ca_params("Line");
        line.custom_extensions = vec![extension];
        let line = Ca::signed_by(line, key(), &root).unwrap();
        let leaf = leaf(&line);
        assert_eq!(distance(&[&leaf], line.der()), Ok(0), "{last}");
        let through = distance(&[&leaf, line.der()], root.der());
        assert_eq!(through, Err(ChainRule::Malformed), "{last}");
    }
}

#[test]
fn the_extended_key_usage_of_an_issuer_and_any_usage_do_not_replace_client_auth() {
    let root = root();
    let mut line = ca_params("Line");
    line.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let line = Ca::signed_by(line, key(), &root).unwrap();
    let leaf = leaf(&line);
    let through = distance(&[&leaf, line.der()], root.der());
    assert_eq!(through, Err(ChainRule::NotForClients));
    let as_anchor = distance(&[&leaf], line.der());
    assert_eq!(as_anchor, Err(ChainRule::NotForClients));
    let mut any = params("device-1");
    any.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    let any = distance(&[&leaf_of(any, &root)], root.der());
    assert_eq!(any, Err(ChainRule::NotForClients));
}
