//! The certificates that a TLS client presented, and the rules of a chain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use super::path::{self, SignatureBudget};
use crate::certificate::Certificate;

/// More than any real chain has, and few enough that a search through them is short.
const MAX_CERTIFICATES: usize = 16;

/// The certificates that a TLS client sent: its own, and others to build a chain from, in any order. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PresentedChain {
    /// The leaf first. There is at least one.
    certificates: Arc<[Certificate]>,
}

/// The number of intermediates between the leaf and each anchor above it, by the anchor's SHA-256 thumbprint.
pub(super) type Distances = BTreeMap<String, usize>;

/// Why a chain does not lead to an anchor: the rule, and the certificate that violates it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub(crate) struct ChainError {
    rule: ChainRule,
    detail: String,
}

/// The rules that a chain can violate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChainRule {
    #[error("a certificate of the chain has expired")]
    Expired,
    #[error("a certificate of the chain is not valid yet")]
    NotYetValid,
    #[error("the chain does not lead to a trusted certificate")]
    NotAnchored,
    /// Also for a trusted certificate with the right name and another key.
    #[error("a signature in the chain was not made by the issuer's key")]
    BrokenSignature,
    #[error("the certificate cannot authenticate a TLS client")]
    NotForClients,
    /// Not an authority, a path that is too long below it, or a name that it may not sign.
    #[error("a certificate of the chain signed what it may not sign")]
    NotPermitted,
    #[error("the chain requires too much work")]
    TooComplex,
    #[error("a certificate of the chain is malformed or of an unsupported kind")]
    Malformed,
}

impl PresentedChain {
    /// Reads the peer's certificates in the order of TLS, the leaf first. Unreadable certificates after the leaf are
    /// ignored.
    pub(crate) fn new(presented: &[CertificateDer<'_>]) -> Result<Self, ChainError> {
        let malformed = |detail: String| ChainError::new(ChainRule::Malformed, detail);
        let (leaf, others) = presented
            .split_first()
            .ok_or_else(|| malformed("there is no certificate".to_owned()))?;
        if presented.len() > MAX_CERTIFICATES {
            let count = presented.len();
            return Err(malformed(format!(
                "{count} certificates were sent, and the limit is {MAX_CERTIFICATES}"
            )));
        }
        let leaf = Certificate::from_der(leaf.clone().into_owned())
            .map_err(|error| malformed(format!("the first certificate: {error}")))?;
        let others = others
            .iter()
            .filter_map(|der| Certificate::from_der(der.clone().into_owned()).ok());
        Ok(Self {
            certificates: [leaf].into_iter().chain(others).collect(),
        })
    }

    pub(crate) fn leaf(&self) -> &Certificate {
        &self.certificates[0]
    }

    /// Verifies that the leaf is a TLS client's, and returns the anchors that a valid chain leads to.
    ///
    /// An anchor need not be self-signed, and may be among the presented certificates. Its validity and its constraints are
    /// checked like those of all others. A certificate is never its own anchor: a self-signed leaf is refused here;
    /// individual enrollments compare thumbprints.
    pub(super) fn anchors_above(
        &self,
        anchors: &[Certificate],
        now: SystemTime,
        budget: &SignatureBudget,
    ) -> Result<Distances, ChainError> {
        let found = path::anchors_above(&self.certificates, anchors, now, budget)?;
        let named = found
            .into_iter()
            .map(|(at, distance)| (anchors[at].sha256_thumbprint().to_owned(), distance));
        Ok(named.collect())
    }

    /// Returns the number of intermediates between the leaf and this anchor.
    pub(crate) fn distance_to(
        &self,
        anchor: &Certificate,
        now: SystemTime,
    ) -> Result<usize, ChainError> {
        let anchors = std::slice::from_ref(anchor);
        let found = path::anchors_above(
            &self.certificates,
            anchors,
            now,
            &SignatureBudget::default(),
        )?;
        Ok(found[0].1)
    }
}

impl ChainError {
    pub(super) fn new(rule: ChainRule, detail: impl Into<String>) -> Self {
        Self {
            rule,
            detail: detail.into(),
        }
    }

    #[cfg(test)]
    pub(crate) fn rule(&self) -> ChainRule {
        self.rule
    }

    pub(super) fn from_webpki(error: &webpki::Error, certificate: &Certificate) -> Self {
        use webpki::Error as E;
        let rule = match error {
            E::CertExpired { .. } => ChainRule::Expired,
            E::CertNotValidYet { .. } => ChainRule::NotYetValid,
            E::UnknownIssuer => ChainRule::NotAnchored,
            E::InvalidSignatureForPublicKey => ChainRule::BrokenSignature,
            E::CaUsedAsEndEntity | E::EmptyEkuExtension | E::RequiredEkuNotFoundContext(_) => {
                ChainRule::NotForClients
            }
            E::EndEntityUsedAsCa
            | E::NameConstraintViolation
            | E::PathLenConstraintViolated
            | E::MaximumPathDepthExceeded => ChainRule::NotPermitted,
            E::MaximumSignatureChecksExceeded | E::MaximumPathBuildCallsExceeded => {
                ChainRule::TooComplex
            }
            _ => ChainRule::Malformed,
        };
        Self::new(rule, format!("'{}': {error}", certificate.subject()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
        ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
        NameConstraints, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
        date_time_ymd,
    };
    use std::time::Duration;
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

    fn version_1() -> [Certificate; 2] {
        [
            include_str!("../../tests/behaviour/certificates/version-1-device.pem"),
            include_str!("../../tests/behaviour/certificates/version-1-root.pem"),
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
        let other = Certificate::from_der(self::root().der().clone()).unwrap();
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
        let key = include_str!("../../tests/behaviour/certificates/version-1-key.pem");
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

    fn leaf_of_issuer(issuer: &Issuer<'static, KeyPair>) -> CertificateDer<'static> {
        params("device-1").signed_by(&key(), issuer).unwrap().into()
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
    fn an_unknown_critical_extension_is_refused_except_in_an_anchor() {
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
        // The operator enrolled it as it is.
        assert_eq!(distance(&[&leaf], line.der()), Ok(0));
    }

    #[test]
    fn the_extended_key_usage_of_an_intermediate_and_any_usage_do_not_replace_client_auth() {
        let root = root();
        let mut line = ca_params("Line");
        line.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let line = Ca::signed_by(line, key(), &root).unwrap();
        let through = distance(&[&leaf(&line), line.der()], root.der());
        assert_eq!(through, Err(ChainRule::NotForClients));
        let mut any = params("device-1");
        any.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
        let any = distance(&[&leaf_of(any, &root)], root.der());
        assert_eq!(any, Err(ChainRule::NotForClients));
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
}
