//! The limits on the work of a search.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P384_SHA384,
};

use rustls_pki_types::CertificateDer;

use super::budget::MAX_SIGNATURES;
use super::*;
use crate::attest::chain_error::ChainRule;

type Ca = CertifiedIssuer<'static, KeyPair>;

const SHARED_NAME: &str = "Contoso CA";

fn params(name: &str, has_key_ids: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = has_key_ids;
    params
}

fn ca_params(has_key_ids: bool) -> CertificateParams {
    let mut params = params(SHARED_NAME, has_key_ids);
    params.is_ca = match has_key_ids {
        true => IsCa::Ca(BasicConstraints::Unconstrained),
        // rcgen writes a subject key identifier for every declared authority.
        false => IsCa::NoCa,
    };
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()
}

fn read(der: &CertificateDer<'_>) -> Certificate {
    Certificate::from_der(der.clone().into_owned()).unwrap()
}

fn cas(count: usize, has_key_ids: bool) -> Vec<Ca> {
    let ca = || Ca::self_signed(ca_params(has_key_ids), key()).unwrap();
    (0..count).map(|_| ca()).collect()
}

fn certificates(cas: &[Ca]) -> Vec<Certificate> {
    cas.iter().map(|ca| read(ca.der())).collect()
}

fn search(
    presented: &[Certificate],
    anchors: &[Certificate],
) -> (Result<Vec<(usize, usize)>, ChainRule>, usize) {
    let budget = SignatureBudget::default();
    let signatures = Signatures {
        budget: &budget,
        known: &KnownSignatures::default(),
    };
    let anchors: Vec<&Certificate> = anchors.iter().collect();
    let found = anchors_above(presented, &anchors, SystemTime::now(), signatures);
    (found.map_err(|error| error.rule()), budget.used())
}

#[test]
fn with_key_identifiers_a_device_costs_one_signature() {
    let cas = cas(200, true);
    let leaf = params("dev-1", true).signed_by(&key(), &cas[150]).unwrap();
    let found = search(&[read(leaf.der())], &certificates(&cas));
    assert_eq!(found, (Ok(vec![(150, 0)]), 1));
}

#[test]
fn many_presented_authorities_of_the_anchors_name_reach_the_limit_and_no_more() {
    let anchors = certificates(&cas(200, false));
    let strangers = cas(15, false);
    let leaf = params("dev-1", false)
        .signed_by(&key(), &strangers[14])
        .unwrap();
    let mut presented = vec![read(leaf.der())];
    presented.extend(certificates(&strangers));
    let found = search(&presented, &anchors);
    assert_eq!(found, (Err(ChainRule::TooComplex), MAX_SIGNATURES));
}

#[test]
fn a_long_chain_of_one_name_is_followed_no_further_than_the_depth_allows() {
    let anchors = certificates(&cas(3, true));
    let mut chain = vec![Ca::self_signed(ca_params(true), key()).unwrap()];
    for _ in 0..14 {
        let next = Ca::signed_by(ca_params(true), key(), &chain[chain.len() - 1]).unwrap();
        chain.push(next);
    }
    let leaf = params("dev-1", true).signed_by(&key(), &chain[14]).unwrap();
    let mut presented = vec![read(leaf.der())];
    presented.extend(certificates(&chain));
    let (found, used) = search(&presented, &anchors);
    assert_eq!(found, Err(ChainRule::NotAnchored));
    assert!(used <= MAX_INTERMEDIATES + 1, "{used}");
}

#[test]
fn many_certificates_of_the_same_keys_are_too_complex() {
    let root = Ca::self_signed(ca_params(true), key()).unwrap();
    let mut issuers: Vec<Ca> = Vec::new();
    let mut presented = Vec::new();
    // Three keys with five certificates each: 125 paths.
    for level in 0..3 {
        let name = format!("Level {level}");
        let level_key = key();
        let parent = issuers.last().unwrap_or(&root);
        for serial in 0..5u64 {
            let mut params = ca_params(true);
            params
                .distinguished_name
                .push(DnType::CommonName, name.as_str());
            params.serial_number = Some((serial + 1).into());
            presented.push(read(params.signed_by(&level_key, parent).unwrap().der()));
        }
        let mut params = ca_params(true);
        params
            .distinguished_name
            .push(DnType::CommonName, name.as_str());
        let issuer = Ca::signed_by(params, level_key, parent).unwrap();
        issuers.push(issuer);
    }
    let leaf = params("dev-1", true)
        .signed_by(&key(), &issuers[2])
        .unwrap();
    presented.insert(0, read(leaf.der()));
    let (found, used) = search(&presented, &[read(root.der())]);
    assert_eq!(found, Err(ChainRule::TooComplex));
    assert!(used <= MAX_SIGNATURES, "{used}");
}
