//! Finds the paths from a device's certificate to the trusted anchors above it, with a limit on the work.
//!
//! First the issuer of each certificate is found by name, key identifier and signature, so that a signature is verified
//! once per issuer key. Then each path that leads to an anchor is validated as RFC 5280, 6.1 requires.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, UnixTime,
};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::chain::{ChainError, ChainRule};
use super::elapsed;
use crate::certificate::Certificate;

/// The most intermediates between a leaf and its anchor. webpki has the same limit.
const MAX_INTERMEDIATES: usize = 6;
/// The most paths from one leaf. Real chains have one, or two while a CA certificate is renewed.
const MAX_PATHS: usize = 16;

/// The number of signatures that one registration may verify: enough for the anchors of a full instance (100 groups with
/// two certificates each, 25 CA certificates) when they all share one name and have no key identifiers.
pub(super) const MAX_SIGNATURES: usize = 256;

/// Counts the signature verifications of one registration, and stops them at a limit.
#[derive(Debug)]
pub(super) struct SignatureBudget {
    limit: usize,
    used: AtomicUsize,
}

impl Default for SignatureBudget {
    fn default() -> Self {
        Self {
            limit: MAX_SIGNATURES,
            used: AtomicUsize::new(0),
        }
    }
}

impl SignatureBudget {
    /// The number of signatures that were verified.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns false if the limit is reached.
    fn spend(&self) -> bool {
        let more = |used| (used < self.limit).then_some(used + 1);
        let spent = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        spent.is_ok()
    }
}

/// Finds every anchor above `presented[0]`, with the number of intermediates between the two: 0 if the anchor itself
/// signed the leaf. The same anchor appears once, with its nearest valid path.
///
/// # Errors
/// The rule that the nearest path violates, if no path is valid.
pub(super) fn anchors_above(
    presented: &[Certificate],
    anchors: &[Certificate],
    now: SystemTime,
    budget: &SignatureBudget,
) -> Result<Vec<(usize, usize)>, ChainError> {
    let mut search = Search {
        presented,
        anchors,
        budget,
        issuers: HashMap::new(),
        last_reached: 0,
        broken: None,
    };
    let (mut found, mut failure): (Vec<(usize, usize)>, Option<ChainError>) = (Vec::new(), None);
    for (path, anchor) in search.paths()? {
        if found.iter().any(|(known, _)| *known == anchor) {
            continue;
        }
        let certificates: Vec<&Certificate> = path.iter().map(|at| &presented[*at]).collect();
        match validate(&certificates, &anchors[anchor], now, budget) {
            Ok(()) => found.push((anchor, path.len() - 1)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match found.is_empty() {
        false => Ok(found),
        true => Err(failure.or(search.broken.take()).unwrap_or_else(|| {
            let child = &presented[search.last_reached];
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
    anchors: &'a [Certificate],
    budget: &'a SignatureBudget,
    /// The issuers of each presented certificate that was reached.
    issuers: HashMap<usize, Vec<Issuer>>,
    /// The certificate furthest from the leaf.
    last_reached: usize,
    /// The first signature that the key of the named issuer did not make.
    broken: Option<ChainError>,
}

impl Search<'_> {
    /// Returns the paths to anchors, the shortest first: indices of presented certificates from the leaf up, and the anchor.
    fn paths(&mut self) -> Result<Vec<(Vec<usize>, usize)>, ChainError> {
        let mut complete = Vec::new();
        let mut open = VecDeque::from([vec![0]]);
        let mut opened = 1;
        while let Some(path) = open.pop_front() {
            let child = path[path.len() - 1];
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
        let next = &self.presented[next];
        path.len() <= MAX_INTERMEDIATES
            && !path
                .iter()
                .any(|at| self.presented[*at].has_subject_and_key_of(next))
    }

    fn issuers_of(&mut self, child: usize) -> Result<Vec<Issuer>, ChainError> {
        if let Some(known) = self.issuers.get(&child) {
            return Ok(known.clone());
        }
        let found = self.find_issuers(&self.presented[child])?;
        self.issuers.insert(child, found.clone());
        Ok(found)
    }

    /// Returns the anchors and presented certificates whose key signed the child. All of them have the same key, so no
    /// signature is verified after the first match, and no key is tried twice.
    fn find_issuers(&mut self, child: &Certificate) -> Result<Vec<Issuer>, ChainError> {
        let anchors = self.anchors.iter().enumerate();
        let presented = self.presented.iter().enumerate();
        let candidates = anchors
            .map(|(at, anchor)| (Issuer::Anchor(at), anchor))
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
                None if !self.budget.spend() => return Err(too_many_signatures()),
                None if child.is_signed_by(key) => {
                    signer = Some(key);
                    found.push(issuer);
                }
                None => {
                    is_wrong_anchor |= matches!(issuer, Issuer::Anchor(_));
                    others.push(key);
                }
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

/// Validates one path, from the leaf up to the anchor.
fn validate(
    path: &[&Certificate],
    anchor: &Certificate,
    now: SystemTime,
    budget: &SignatureBudget,
) -> Result<(), ChainError> {
    let leaf = path[0];
    check_client(leaf)?;
    for (at, certificate) in path.iter().copied().chain([anchor]).enumerate() {
        check_validity(certificate, now)?;
        if at > 0 {
            check_authority(certificate, at - 1)?;
        }
    }
    if let Some(other) = path[1..].iter().find(|it| !it.is_for_tls_clients()) {
        return Err(ChainError::new(
            ChainRule::NotForClients,
            format!("the extendedKeyUsage of '{}'", other.subject()),
        ));
    }
    if let Some(old) = path[1..].iter().find(|it| !it.is_version_3()) {
        return Err(ChainError::new(
            ChainRule::NotPermitted,
            format!(
                "'{}' is of X.509 version {}",
                old.subject(),
                old.info().version
            ),
        ));
    }
    if anchor == leaf {
        let detail = format!("'{}' signed itself", leaf.subject());
        return Err(ChainError::new(ChainRule::NotPermitted, detail));
    }
    match leaf.is_version_3() {
        true => check_with_webpki(path, anchor, now, budget),
        false => check_issuers_of_old_leaf(path, anchor),
    }
}

/// Requires that the certificate may authenticate a TLS client.
pub(super) fn check_client(leaf: &Certificate) -> Result<(), ChainError> {
    let fault = if leaf.is_version_3() && leaf.is_authority() {
        Some("is a CA certificate")
    } else if !leaf.is_for_tls_clients() {
        Some("has an extendedKeyUsage without clientAuth")
    } else {
        None
    };
    match fault {
        Some(fault) => Err(ChainError::new(
            ChainRule::NotForClients,
            format!("'{}' {fault}", leaf.subject()),
        )),
        None => check_handshake_key(leaf),
    }
}

/// Requires that `keyUsage` allows the signature of a TLS handshake.
pub(super) fn check_handshake_key(leaf: &Certificate) -> Result<(), ChainError> {
    match leaf.key_may_sign_handshakes() {
        true => Ok(()),
        false => Err(ChainError::new(
            ChainRule::NotForClients,
            format!(
                "'{}' has a keyUsage without digitalSignature",
                leaf.subject()
            ),
        )),
    }
}

pub(super) fn check_validity(certificate: &Certificate, now: SystemTime) -> Result<(), ChainError> {
    let info = certificate.info();
    let (rule, moment, verb) = if certificate.has_expired(now) {
        (ChainRule::Expired, info.not_after_utc, "ended")
    } else if certificate.is_early(now) {
        (ChainRule::NotYetValid, info.not_before_utc, "starts")
    } else {
        return Ok(());
    };
    let when = elapsed::relative(moment, now);
    let detail = format!("the validity of '{}' {verb} {when}", certificate.subject());
    Err(ChainError::new(rule, detail))
}

/// Requires that the certificate may sign others, with this number of intermediates below it.
fn check_authority(issuer: &Certificate, intermediates: usize) -> Result<(), ChainError> {
    let fault = if !issuer.is_authority() {
        "is not a CA certificate (basicConstraints)"
    } else if !issuer.key_may_sign_certificates() {
        "has a keyUsage without keyCertSign"
    } else if !issuer.allows_path_length(intermediates) {
        "has a pathLenConstraint that the chain exceeds"
    } else {
        return Ok(());
    };
    let detail = format!("'{}' {fault}", issuer.subject());
    Err(ChainError::new(ChainRule::NotPermitted, detail))
}

/// Checks what only webpki reads, such as name constraints, and everything else once more.
fn check_with_webpki(
    path: &[&Certificate],
    anchor: &Certificate,
    now: SystemTime,
    budget: &SignatureBudget,
) -> Result<(), ChainError> {
    let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let counted: Vec<Counted<'_>> = ALL_VERIFICATION_ALGS
        .iter()
        .map(|algorithm| Counted {
            algorithm: *algorithm,
            budget,
        })
        .collect();
    let algorithms: Vec<&dyn SignatureVerificationAlgorithm> = counted
        .iter()
        .map(|it| it as &dyn SignatureVerificationAlgorithm)
        .collect();
    let intermediates: Vec<CertificateDer<'_>> =
        path[1..].iter().map(|it| it.der().clone()).collect();
    let verify = || {
        let trusted = [anchor_from_trusted_cert(anchor.der())?];
        let leaf = EndEntityCert::try_from(path[0].der())?;
        leaf.verify_for_usage(
            &algorithms,
            &trusted,
            &intermediates,
            UnixTime::since_unix_epoch(since_1970),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map(drop)
    };
    verify().map_err(|error| ChainError::from_webpki(&error, path[0]))
}

/// Checks the issuers of a certificate without extensions, which webpki does not read. Its signatures were verified when
/// the path was found.
///
/// Name constraints cannot be applied to a certificate without alternative names in a way that all implementations share,
/// so a path with name constraints is refused.
fn check_issuers_of_old_leaf(
    path: &[&Certificate],
    anchor: &Certificate,
) -> Result<(), ChainError> {
    for issuer in path[1..].iter().copied() {
        check_readable(issuer)?;
    }
    anchor_from_trusted_cert(anchor.der())
        .map_err(|error| ChainError::from_webpki(&error, anchor))?;
    let mut issuers = path[1..].iter().copied().chain([anchor]);
    match issuers.find(|issuer| issuer.has_name_constraints()) {
        None => Ok(()),
        Some(issuer) => Err(ChainError::new(
            ChainRule::NotPermitted,
            format!(
                "'{}' has name constraints, and '{}' is of X.509 version {}",
                issuer.subject(),
                path[0].subject(),
                path[0].info().version
            ),
        )),
    }
}

/// Requires that webpki can read a certificate of version 3. It refuses unknown critical extensions.
pub(super) fn check_readable(certificate: &Certificate) -> Result<(), ChainError> {
    match EndEntityCert::try_from(certificate.der()) {
        Err(error) if certificate.is_version_3() => {
            Err(ChainError::from_webpki(&error, certificate))
        }
        _ => Ok(()),
    }
}

fn too_many_signatures() -> ChainError {
    let detail = format!("more than {MAX_SIGNATURES} signatures");
    ChainError::new(ChainRule::TooComplex, detail)
}

/// A signature algorithm whose verifications count.
struct Counted<'a> {
    algorithm: &'static dyn SignatureVerificationAlgorithm,
    budget: &'a SignatureBudget,
}

impl SignatureVerificationAlgorithm for Counted<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        match self.budget.spend() {
            true => self
                .algorithm
                .verify_signature(public_key, message, signature),
            false => Err(InvalidSignature),
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.algorithm.signature_alg_id()
    }
}

impl fmt::Debug for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.algorithm.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
        PKCS_ECDSA_P384_SHA384,
    };

    use super::*;

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
        let found = anchors_above(presented, anchors, SystemTime::now(), &budget);
        (found.map_err(|error| error.rule()), budget.used())
    }

    #[test]
    fn with_key_identifiers_a_device_costs_one_search_and_one_validation() {
        let cas = cas(200, true);
        let leaf = params("dev-1", true).signed_by(&key(), &cas[150]).unwrap();
        let found = search(&[read(leaf.der())], &certificates(&cas));
        assert_eq!(found, (Ok(vec![(150, 0)]), 2));
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
}
