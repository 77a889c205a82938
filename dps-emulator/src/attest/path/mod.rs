//! Finds the paths from a device's certificate to the trusted anchors above it, with a limit on the work.
//!
//! First the issuer of each certificate is found by name, key identifier and signature, so that a signature is verified
//! once per issuer key. Then each path that leads to an anchor is validated as RFC 5280, 6.1 requires.

mod budget;
mod name_constraints;
mod signatures;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

pub(super) use budget::SignatureBudget;
use budget::too_many_signatures;
use signatures::TooMany;
pub(super) use signatures::{KnownSignatures, Signatures};
use validate::validate;
pub(super) use validate::{check_handshake_key, check_readable, check_validity};

use super::chain_error::{ChainError, ChainRule};
use crate::certificate::Certificate;

/// The most intermediates between a leaf and its anchor. webpki has the same limit.
const MAX_INTERMEDIATES: usize = 6;
/// The most paths from one leaf. Real chains have one, or two while a CA certificate is renewed.
const MAX_PATHS: usize = 16;

/// Finds every anchor above `presented[0]`, with the number of intermediates between the two: 0 if the anchor itself
/// signed the leaf. The same anchor appears once, with its nearest valid path.
///
/// # Errors
/// The rule that the nearest path violates, if no path is valid.
pub(super) fn anchors_above(
    presented: &[Certificate],
    anchors: &[&Certificate],
    now: SystemTime,
    signatures: Signatures<'_>,
) -> Result<Vec<(usize, usize)>, ChainError> {
    let mut search = Search {
        presented,
        anchors,
        signatures,
        issuers: HashMap::new(),
        last_reached: 0,
        broken: None,
    };
    let (mut found, mut failure): (Vec<(usize, usize)>, Option<ChainError>) = (Vec::new(), None);
    for (path, anchor) in search.paths()? {
        if found.iter().any(|(known, _)| *known == anchor) {
            continue;
        }
        let mut certificates = path.into_iter().map(|at| search.presented(at));
        let Some(leaf) = certificates.next() else {
            continue;
        };
        let intermediates: Vec<&Certificate> = certificates.collect();
        match validate(leaf, &intermediates, search.anchor(anchor), now, signatures) {
            Ok(()) => found.push((anchor, intermediates.len())),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match found.is_empty() {
        false => Ok(found),
        true => Err(failure.or(search.broken.take()).unwrap_or_else(|| {
            let child = search.presented(search.last_reached);
            let (name, issuer) = (child.subject(), child.issuer());
            let detail = format!("it ends at '{name}' with the issuer '{issuer}'");
            ChainError::new(ChainRule::NotAnchored, detail)
        })),
    }
}

/// The issuer of a certificate.
#[derive(Debug, Clone, Copy)]
enum Issuer {
    Anchor(usize),
    Presented(usize),
}

struct Search<'a> {
    presented: &'a [Certificate],
    anchors: &'a [&'a Certificate],
    signatures: Signatures<'a>,
    /// The issuers of each presented certificate that was reached.
    issuers: HashMap<usize, Vec<Issuer>>,
    /// The certificate furthest from the leaf.
    last_reached: usize,
    /// The first signature that the key of the named issuer did not make.
    broken: Option<ChainError>,
}

impl<'a> Search<'a> {
    #[expect(
        clippy::indexing_slicing,
        reason = "the index of an issuer in the same slice, or that of the leaf"
    )]
    fn presented(&self, at: usize) -> &'a Certificate {
        &self.presented[at]
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the index of an issuer in the same slice"
    )]
    fn anchor(&self, at: usize) -> &'a Certificate {
        self.anchors[at]
    }

    /// Returns the paths to anchors, the shortest first: indices of presented certificates from the leaf up, and the anchor.
    fn paths(&mut self) -> Result<Vec<(Vec<usize>, usize)>, ChainError> {
        let mut complete = Vec::new();
        let mut open = VecDeque::from([vec![0]]);
        let mut opened = 1;
        while let Some(path) = open.pop_front() {
            let child = path.last().copied().unwrap_or_default();
            self.last_reached = child;
            for issuer in self.issuers_of(child)? {
                match issuer {
                    Issuer::Anchor(anchor) => complete.push((path.clone(), anchor)),
                    Issuer::Presented(next) if self.extends(&path, next) => {
                        let mut longer = path.clone();
                        longer.push(next);
                        open.push_back(longer);
                        opened += 1;
                    }
                    Issuer::Presented(_) => {}
                }
                if complete.len() > MAX_PATHS || opened > MAX_PATHS * MAX_INTERMEDIATES {
                    let detail = format!("more than {MAX_PATHS} paths");
                    return Err(ChainError::new(ChainRule::TooComplex, detail));
                }
            }
        }
        Ok(complete)
    }

    /// A path has limited length, and each authority occurs once in it.
    fn extends(&self, path: &[usize], next: usize) -> bool {
        let next = self.presented(next);
        path.len() <= MAX_INTERMEDIATES
            && !path
                .iter()
                .any(|at| self.presented(*at).has_subject_and_key_of(next))
    }

    fn issuers_of(&mut self, child: usize) -> Result<Vec<Issuer>, ChainError> {
        if let Some(known) = self.issuers.get(&child) {
            return Ok(known.clone());
        }
        let found = self.find_issuers(self.presented(child))?;
        self.issuers.insert(child, found.clone());
        Ok(found)
    }

    /// Returns the anchors and presented certificates whose key signed the child. All of them have the same key, so no
    /// signature is verified after the first match, and no key is tried twice.
    fn find_issuers(&mut self, child: &Certificate) -> Result<Vec<Issuer>, ChainError> {
        let anchors = self.anchors.iter().enumerate();
        let presented = self.presented.iter().enumerate();
        let candidates = anchors
            .map(|(at, anchor)| (Issuer::Anchor(at), *anchor))
            .chain(presented.map(|(at, other)| (Issuer::Presented(at), other)))
            .filter(|(_, issuer)| child.names_issuer(issuer));
        let (mut found, mut signer, mut others) = (Vec::new(), None, Vec::new());
        let mut is_wrong_anchor = false;
        for (issuer, certificate) in candidates {
            let key = certificate.public_key();
            match signer {
                Some(signer) if signer == key => found.push(issuer),
                Some(_) => {}
                None if others.contains(&key) => {}
                None => match self.signatures.is_signed_by(child, key) {
                    Ok(true) => {
                        signer = Some(key);
                        found.push(issuer);
                    }
                    Ok(false) => {
                        is_wrong_anchor |= matches!(issuer, Issuer::Anchor(_));
                        others.push(key);
                    }
                    Err(TooMany) => return Err(too_many_signatures()),
                },
            }
        }
        if is_wrong_anchor || found.is_empty() && !others.is_empty() {
            let detail = format!(
                "'{}' names the issuer '{}'",
                child.subject(),
                child.issuer()
            );
            let broken = ChainError::new(ChainRule::BrokenSignature, detail);
            self.broken.get_or_insert(broken);
        }
        Ok(found)
    }
}
