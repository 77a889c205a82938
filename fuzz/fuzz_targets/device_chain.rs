//! The chain of a device's certificate: the emulator finds the anchors that a search in a graph of authorities finds, with limited
//! work, for certificates in any order and number, and for changed ones.
#![no_main]

use std::collections::{BTreeSet, VecDeque};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use dps_emulator::fuzzing::search;
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Two authorities share a name, and have different keys.
const AUTHORITIES: usize = 8;
/// The most certificates that a device may send, and the most intermediates of a path.
const MAX_CERTIFICATES: usize = 16;
const MAX_INTERMEDIATES: usize = 6;
const MAX_SIGNATURES: usize = 256;

/// 2040. The certificates are valid until 2126.
const NOW: Duration = Duration::from_secs(2_208_988_800);

static POOL: LazyLock<Pool> = LazyLock::new(Pool::read);

fuzz_target!(init: LazyLock::force(&POOL), |input: (u8, Vec<(u8, u8)>, u8, Option<(u8, u16, u8)>)| {
    let (leaf, others, anchors, change) = input;
    let leaf = usize::from(leaf) % AUTHORITIES;
    let mut edges: Vec<(usize, usize)> = others
        .iter()
        .take(MAX_CERTIFICATES - 1)
        .map(|(issuer, subject)| (usize::from(*issuer) % AUTHORITIES, usize::from(*subject) % AUTHORITIES))
        .collect();
    let mut presented: Vec<CertificateDer<'static>> = vec![POOL.leaves[leaf].clone()];
    presented.extend(edges.iter().map(|(issuer, subject)| POOL.issued[*issuer][*subject].clone()));
    let anchors: Vec<usize> = (0..AUTHORITIES).filter(|index| anchors >> index & 1 == 1).collect();
    let anchor_certificates: Vec<CertificateDer<'static>> =
        anchors.iter().map(|index| POOL.issued[*index][*index].clone()).collect();

    let mut is_leaf_changed = false;
    if let Some((index, offset, bits)) = change.filter(|(_, _, bits)| *bits != 0) {
        let index = usize::from(index) % presented.len();
        let mut der = presented[index].to_vec();
        let offset = usize::from(offset) % der.len();
        der[offset] ^= bits;
        presented[index] = der.into();
        match index.checked_sub(1) {
            Some(edge) => drop(edges.remove(edge)),
            None => is_leaf_changed = true,
        }
    }
    let Some(found) = search(&presented, &anchor_certificates, SystemTime::UNIX_EPOCH + NOW) else {
        assert!(is_leaf_changed, "a sound chain can be read");
        return;
    };
    assert!(found.signatures <= MAX_SIGNATURES);
    let reached = match is_leaf_changed {
        true => BTreeSet::new(),
        false => reachable(leaf, &edges),
    };
    let expected: BTreeSet<usize> =
        (0..anchors.len()).filter(|index| reached.contains(&anchors[*index])).collect();
    match found.is_too_complex {
        true => assert!(found.anchors.is_empty()),
        false => assert_eq!(found.anchors, expected, "{leaf} {edges:?} {anchors:?}"),
    }
});

/// The authorities above a leaf, within the longest path.
fn reachable(issuer: usize, edges: &[(usize, usize)]) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([issuer]);
    let mut open = VecDeque::from([(issuer, 0)]);
    while let Some((node, intermediates)) = open.pop_front() {
        if intermediates == MAX_INTERMEDIATES {
            continue;
        }
        for (above, below) in edges {
            if *below == node && found.insert(*above) {
                open.push_back((*above, intermediates + 1));
            }
        }
    }
    found
}

/// Certificates of each authority for each other one, itself, and a leaf. `scripts/fuzz-fixtures` made them.
struct Pool {
    issued: Vec<Vec<CertificateDer<'static>>>,
    leaves: Vec<CertificateDer<'static>>,
}

impl Pool {
    fn read() -> Self {
        let pem = include_bytes!("../fixtures/device_chain.pem");
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let mut issued: Vec<Vec<_>> = all.expect("PEM").chunks(AUTHORITIES).map(<[_]>::to_vec).collect();
        let leaves = issued.pop().expect("the last row");
        Self { issued, leaves }
    }
}
