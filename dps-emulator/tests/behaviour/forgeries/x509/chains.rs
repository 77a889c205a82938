//! Certificates that a device must not register with, each with the verdict of `openssl verify` on the same chain.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, SanType, date_time_ymd,
};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{Chain, compare, enroll};
use crate::common::Dps;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn device(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn root(name: &str) -> Ca {
    Ca::self_signed(authority(name), key()).expect("a root")
}

fn below(params: CertificateParams, issuer: &Ca) -> Ca {
    Ca::signed_by(params, key(), issuer).expect("an authority")
}

/// The certificate and the key.
fn signed(params: CertificateParams, issuer: &Ca) -> (String, String) {
    let key = key();
    let certificate = params.signed_by(&key, issuer).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// The certificate with another last byte of its signature.
fn with_changed_signature((pem, key): (String, String)) -> (String, String) {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let mut der = certificate.to_vec();
    *der.last_mut().expect("bytes") ^= 1;
    (super::der::pem(&der), key)
}

fn critical_extension() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    extension.set_criticality(true);
    extension
}

fn forgeries(root: &Ca) -> Vec<Chain> {
    let none: &[String] = &[];
    let genuine_root = root.pem();
    let same_name = self::root("Contoso Root");
    let stranger = self::root("Fabrikam Root");
    let line = below(authority("Line"), root);

    let mut expired = device("dev-1");
    (expired.not_before, expired.not_after) =
        (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let mut early = device("dev-1");
    (early.not_before, early.not_after) = (date_time_ymd(2090, 1, 1), date_time_ymd(2091, 1, 1));
    let mut server = device("dev-1");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut encipherment = device("dev-1");
    encipherment.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    let mut critical = device("dev-1");
    critical.custom_extensions = vec![critical_extension()];

    let not_ca = below(device("Line"), root);
    let mut no_usage = authority("Line");
    no_usage.key_usages = vec![KeyUsagePurpose::CrlSign];
    let no_usage = below(no_usage, root);
    let mut old = authority("Line");
    (old.not_before, old.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let old = below(old, root);
    let mut short = authority("Line");
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let short = below(short, root);
    let too_deep = below(authority("Cell"), &short);
    let mut narrow = authority("Line");
    narrow.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("contoso.com".into())],
        excluded_subtrees: vec![],
    });
    let narrow = below(narrow, root);
    let mut elsewhere = device("dev-1");
    let name = "dev-1.fabrikam.com".try_into().expect("a name");
    elsewhere.subject_alt_names = vec![SanType::DnsName(name)];
    let mut for_servers = authority("Line");
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let for_servers = below(for_servers, root);
    let mut critical_line = authority("Line");
    critical_line.custom_extensions = vec![critical_extension()];
    let critical_line = below(critical_line, root);

    // The key of the stranger under the name of the genuine root, and the reverse.
    let renamed = Issuer::new(authority("Contoso Root"), key());
    let renamed = {
        let key = key();
        let signed = device("dev-1")
            .signed_by(&key, &renamed)
            .expect("a certificate");
        (signed.pem(), key.serialize_pem())
    };
    let mut self_signed = device("dev-1");
    self_signed.is_ca = IsCa::NoCa;
    let self_key = key();
    let self_signed = self_signed.self_signed(&self_key).expect("a certificate");

    let mut organization = CertificateParams::default();
    organization.distinguished_name = Default::default();
    organization
        .distinguished_name
        .push(DnType::OrganizationName, "dev-1");
    organization.use_authority_key_identifier_extension = true;

    vec![
        Chain::new(
            "a certificate of another device",
            signed(device("dev-2"), root),
            none,
        )
        .that_openssl_accepts(),
        Chain::new("a longer common name", signed(device("dev-10"), root), none)
            .that_openssl_accepts(),
        Chain::new(
            "the id as the organization",
            signed(organization, root),
            none,
        )
        .that_openssl_accepts(),
        Chain::new(
            "self-signed",
            (self_signed.pem(), self_key.serialize_pem()),
            none,
        ),
        Chain::new(
            "an unknown root",
            signed(device("dev-1"), &stranger),
            &[stranger.pem()],
        ),
        Chain::new(
            "an unknown root, followed by the enrolled one",
            signed(device("dev-1"), &stranger),
            &[stranger.pem(), genuine_root.clone()],
        ),
        Chain::new(
            "a root with the same name",
            signed(device("dev-1"), &same_name),
            &[same_name.pem()],
        ),
        Chain::new(
            "a root with the same name, followed by the enrolled one",
            signed(device("dev-1"), &same_name),
            std::slice::from_ref(&genuine_root),
        ),
        Chain::new(
            "the name of the root with another key",
            renamed,
            &[genuine_root],
        ),
        Chain::new(
            "a changed signature",
            with_changed_signature(signed(device("dev-1"), root)),
            none,
        ),
        Chain::new("expired", signed(expired, root), none),
        Chain::new("not valid yet", signed(early, root), none),
        Chain::new("for servers", signed(server, root), none),
        Chain::new("for encipherment", signed(encipherment, root), none),
        Chain::new(
            "an authority as a device",
            signed(authority("dev-1"), root),
            none,
        ),
        Chain::new(
            "an unknown critical extension",
            signed(critical, root),
            none,
        ),
        Chain::new(
            "without its intermediate",
            signed(device("dev-1"), &line),
            none,
        ),
        Chain::new(
            "a device as the intermediate",
            signed(device("dev-1"), &not_ca),
            &[not_ca.pem()],
        ),
        Chain::new(
            "an intermediate that may not sign",
            signed(device("dev-1"), &no_usage),
            &[no_usage.pem()],
        ),
        Chain::new(
            "an expired intermediate",
            signed(device("dev-1"), &old),
            &[old.pem()],
        ),
        Chain::new(
            "more intermediates than allowed",
            signed(device("dev-1"), &too_deep),
            &[too_deep.pem(), short.pem()],
        ),
        Chain::new(
            "a name that the intermediate may not issue",
            signed(elsewhere, &narrow),
            &[narrow.pem()],
        ),
        Chain::new(
            "an intermediate for servers",
            signed(device("dev-1"), &for_servers),
            &[for_servers.pem()],
        ),
        Chain::new(
            "an intermediate with an unknown critical extension",
            signed(device("dev-1"), &critical_line),
            &[critical_line.pem()],
        ),
    ]
}

#[tokio::test]
async fn no_forged_chain_registers_a_device() {
    let dps = Dps::start().await;
    let root = root("Contoso Root");
    let line = below(authority("Line"), &root);
    enroll(&dps, "root", &root.pem()).await;
    let genuine = Chain::new("genuine", signed(device("dev-1"), &line), &[line.pem()]);
    compare(&dps, &root.pem(), &forgeries(&root), &[genuine]).await;
}
