//! Constraints of authorities: names that an intermediate may not issue, and an enrolled root that does not allow the device.

use super::der::{
    ALTERNATIVE_NAME, Authority, CERTIFICATE_POLICIES, Draft, EXTENDED_KEY_USAGE,
    INHIBIT_ANY_POLICY, Key, NAME_CONSTRAINTS, ORGANIZATION, POLICY_CONSTRAINTS, SERVER, UTF8,
    common_name, extension, name, tlv,
};
use super::{Chain, compare, enroll};
use crate::common::Dps;

fn device() -> Draft {
    Draft::device(common_name("dev-1"))
}

fn line(name: &str) -> Draft {
    Draft::authority(common_name(name))
}

/// `nameConstraints` with one subtree, as `permittedSubtrees` (0xa0) or `excludedSubtrees` (0xa1).
fn constraint(kind: u8, base: Vec<u8>) -> Vec<u8> {
    let subtrees = tlv(kind, &tlv(0x30, &base));
    extension(NAME_CONSTRAINTS, true, &tlv(0x30, &subtrees))
}

fn constraints(root: &Authority) -> Vec<Chain> {
    const PERMITTED: u8 = 0xa0;
    const EXCLUDED: u8 = 0xa1;
    let of = |name: &'static str, kind: u8, base: Vec<u8>, leaf: Draft| {
        let line = root.issue(line("Line").with(constraint(kind, base)));
        Chain::new(name, line.device(leaf), &[line.pem])
    };
    let named = |alternative: Vec<u8>| {
        device().with(extension(ALTERNATIVE_NAME, false, &tlv(0x30, &alternative)))
    };
    let dns = |text: &str| tlv(0x82, text.as_bytes());
    let mail = |text: &str| tlv(0x81, text.as_bytes());
    let uri = |text: &str| tlv(0x86, text.as_bytes());
    let of_organization = |text: &str| self::name(&[&[(ORGANIZATION, UTF8, text.as_bytes())]]);
    let directory = |text: &str| tlv(0xa4, &of_organization(text));
    let contoso = Draft::device(self::name(&[
        &[(ORGANIZATION, UTF8, b"Contoso")],
        &[(b"\x55\x04\x03", UTF8, b"dev-1")],
    ]));
    let fabrikam = Draft::device(self::name(&[
        &[(ORGANIZATION, UTF8, b"Fabrikam")],
        &[(b"\x55\x04\x03", UTF8, b"dev-1")],
    ]));
    let net = b"\x0a\0\0\0\xff\0\0\0";
    vec![
        of(
            "a DNS name outside",
            PERMITTED,
            dns("contoso.com"),
            named(dns("dev-1.fabrikam.com")),
        ),
        of(
            "a DNS name that ends alike",
            PERMITTED,
            dns("contoso.com"),
            named(dns("evilcontoso.com")),
        ),
        of(
            "a DNS name that begins alike",
            PERMITTED,
            dns("contoso.com"),
            named(dns("contoso.com.evil")),
        ),
        of(
            "a DNS name with a wildcard outside",
            PERMITTED,
            dns("contoso.com"),
            named(dns("*.fabrikam.com")),
        ),
        of(
            "one DNS name inside and one outside",
            PERMITTED,
            dns("contoso.com"),
            named([dns("a.contoso.com"), dns("a.fabrikam.com")].concat()),
        ),
        of(
            "an excluded DNS name",
            EXCLUDED,
            dns("fabrikam.com"),
            named(dns("dev-1.fabrikam.com")),
        ),
        of(
            "an excluded DNS name in another case",
            EXCLUDED,
            dns("fabrikam.com"),
            named(dns("FABRIKAM.com")),
        ),
        of(
            "every DNS name excluded",
            EXCLUDED,
            dns(""),
            named(dns("dev-1.fabrikam.com")),
        ),
        of(
            "an address outside",
            PERMITTED,
            tlv(0x87, net),
            named(tlv(0x87, b"\x0b\0\0\x01")),
        ),
        of(
            "an excluded address",
            EXCLUDED,
            tlv(0x87, net),
            named(tlv(0x87, b"\x0a\0\0\x01")),
        ),
        of(
            "a mail address outside",
            PERMITTED,
            mail("contoso.com"),
            named(mail("dev-1@fabrikam.com")),
        ),
        of(
            "an excluded mail address",
            EXCLUDED,
            mail("fabrikam.com"),
            named(mail("dev-1@fabrikam.com")),
        ),
        of(
            "a URI outside",
            PERMITTED,
            uri("contoso.com"),
            named(uri("https://fabrikam.com/a")),
        ),
        of(
            "an excluded URI",
            EXCLUDED,
            uri("fabrikam.com"),
            named(uri("https://fabrikam.com/a")),
        ),
        of(
            "a subject outside",
            PERMITTED,
            directory("Contoso"),
            fabrikam.clone(),
        ),
        of(
            "a subject without the organization",
            PERMITTED,
            directory("Contoso"),
            device(),
        ),
        of(
            "an excluded subject",
            EXCLUDED,
            directory("Contoso"),
            contoso,
        ),
        of(
            "an excluded subject in another case",
            EXCLUDED,
            directory("FABRIKAM"),
            fabrikam,
        ),
        of(
            "the constraints of the parent",
            PERMITTED,
            dns("contoso.com"),
            named(dns("fabrikam.com")),
        )
        .through(root, PERMITTED, dns("fabrikam.com")),
        of(
            "constraints that are not DER",
            PERMITTED,
            b"\x82\x7f".to_vec(),
            device(),
        ),
    ]
}

impl Chain {
    /// The same with an intermediate between, whose constraints permit what those of its parent do not.
    fn through(self, root: &Authority, kind: u8, base: Vec<u8>) -> Self {
        let narrow = constraint(0xa0, tlv(0x82, b"contoso.com"));
        let parent = root.issue(line("Line").with(narrow));
        let child = parent.issue(line("Wide").with(constraint(kind, base)));
        let outside = extension(
            ALTERNATIVE_NAME,
            false,
            &tlv(0x30, &tlv(0x82, b"fabrikam.com")),
        );
        Self::new(
            self.name,
            child.device(device().with(outside)),
            &[child.pem, parent.pem],
        )
    }
}

#[tokio::test]
async fn no_name_outside_of_its_constraints_registers_a_device() {
    let dps = Dps::start().await;
    let root = Authority::root("Contoso Root");
    enroll(&dps, "root", &root.pem).await;
    let inside = extension(
        ALTERNATIVE_NAME,
        false,
        &tlv(0x30, &tlv(0x82, b"dev-1.contoso.com")),
    );
    let narrow = root.issue(line("Line").with(constraint(0xa0, tlv(0x82, b"contoso.com"))));
    let genuine = Chain::new(
        "genuine",
        narrow.device(device().with(inside)),
        &[narrow.pem],
    );
    compare(&dps, &root.pem, &constraints(&root), &[genuine]).await;
}

/// The enrolled root itself does not allow these devices.
#[tokio::test]
async fn the_constraints_of_the_enrolled_root_apply() {
    let dps = Dps::start().await;
    let root = |draft: Draft| Authority::root_with(draft, Key::new());
    let outside = extension(
        ALTERNATIVE_NAME,
        false,
        &tlv(0x30, &tlv(0x82, b"fabrikam.com")),
    );
    let mut old = line("Expired");
    old.validity = ["100101000000Z", "110101000000Z"];
    let mut early = line("Early");
    early.validity = ["480101000000Z", "490101000000Z"];
    let mut no_authority = Draft::device(common_name("Device"));
    no_authority.extensions.remove(1);
    let unknown = extension(b"\x2a\x03\x04", true, b"\x05\0");
    let roots = [
        (
            "for servers",
            200,
            root(line("Servers").with(extension(EXTENDED_KEY_USAGE, false, SERVER))),
        ),
        ("expired", 200, root(old)),
        ("not valid yet", 200, root(early)),
        ("not an authority", 400, root(no_authority)),
        (
            "an unknown critical extension",
            200,
            root(line("Critical").with(unknown)),
        ),
        (
            "a DNS name outside",
            200,
            root(line("Narrow").with(constraint(0xa0, tlv(0x82, b"contoso.com")))),
        ),
    ];
    // A root that may not sign is refused when it is enrolled, the others when a device registers.
    for (number, (name, status, root)) in roots.iter().enumerate() {
        let document = crate::common::certificate_group(&format!("g-{number}"), &root.pem);
        let path = format!("/enrollmentGroups/g-{number}");
        assert_eq!(dps.put(&path, &document).await.status, *status, "{name}");
        let chain = Chain::new(name, root.device(device().with(outside.clone())), &[]);
        compare_one(&dps, &root.pem, &chain).await;
    }
    let short = root(Draft::authority_above(common_name("Short"), 0));
    enroll(&dps, "short", &short.pem).await;
    let line = short.issue(line("Line"));
    let chain = Chain::new("below pathLen 0", line.device(device()), &[line.pem]);
    compare_one(&dps, &short.pem, &chain).await;
    let genuine = Chain::new("genuine", short.device(device()), &[]);
    compare(&dps, &short.pem, &[], &[genuine]).await;
}

async fn compare_one(dps: &Dps, root: &str, chain: &Chain) {
    for transport in super::TRANSPORTS {
        let accepted = chain.registers(dps, transport).await;
        assert!(!accepted, "{} over {transport}", chain.name);
    }
    let accepts = super::openssl::verifies(root, &chain.others.concat(), &chain.leaf);
    assert_eq!(accepts, chain.openssl_accepts, "{}: openssl", chain.name);
}

/// Authorities of companies have these extensions, and RFC 5280 requires that two of them are critical.
#[tokio::test]
async fn an_enrolled_root_may_have_critical_extensions_of_policies() {
    let any_policy = tlv(0x30, &tlv(0x30, &tlv(0x06, b"\x55\x1d\x20\x00")));
    // requireExplicitPolicy: 0.
    let explicit = tlv(0x30, b"\x80\x01\x00");
    let policies = extension(CERTIFICATE_POLICIES, true, &any_policy);
    let constraints = extension(POLICY_CONSTRAINTS, true, &explicit);
    let inhibit = extension(INHIBIT_ANY_POLICY, true, b"\x02\x01\x00");
    for (name, extensions) in [
        ("certificatePolicies", vec![policies.clone()]),
        ("policyConstraints", vec![constraints.clone()]),
        ("inhibitAnyPolicy", vec![inhibit.clone()]),
        ("all three", vec![policies, constraints, inhibit]),
    ] {
        let dps = Dps::start().await;
        let draft = extensions.into_iter().fold(line("Policies"), Draft::with);
        let root = Authority::root_with(draft, Key::new());
        enroll(&dps, "root", &root.pem).await;
        let below = root.issue(line("Line"));
        let genuine = [
            Chain::new(name, root.device(device()), &[]),
            Chain::new(name, below.device(device()), &[below.pem]),
        ];
        compare(&dps, &root.pem, &[], &genuine).await;
    }
}

/// The common name is the identity of the device, so that the constraints on DNS names apply to a common name that is one,
/// if the certificate has no alternative names. OpenSSL does the same.
#[tokio::test]
async fn name_constraints_apply_to_a_common_name() {
    let dps = Dps::start().await;
    let root = Authority::root("Contoso Root");
    enroll(&dps, "root", &root.pem).await;
    let narrow = root.issue(line("Line").with(constraint(0xa0, tlv(0x82, b"contoso.com"))));
    let wide = root.issue(line("Wide").with(constraint(0xa1, tlv(0x82, b"contoso.com"))));
    for (issuer, id, accepted) in [
        (&narrow, "dev-1.fabrikam.com", false),
        (&narrow, "dev-1.contoso.com", true),
        (&narrow, "dev-1", true),
        (&wide, "dev-2.fabrikam.com", true),
        (&wide, "dev-2.contoso.com", false),
        (&wide, "contoso.com", false),
        // A hyphen may be inside of a label of a DNS name only.
        (&narrow, "dev--1.fabrikam.com", false),
        (&narrow, "dev_1.fabrikam.com", false),
        (&narrow, "_.fabrikam.com", false),
        (&narrow, "dev-.fabrikam.com", true),
        (&narrow, "dev-1.-fabrikam.com", true),
        (&narrow, "dev-1.fabrikam-.com", true),
        (&narrow, "dev-1.fabrikam.com-", true),
        (&wide, "dev-2.-.contoso.com", true),
    ] {
        let (leaf, key) = issuer.device(Draft::device(common_name(id)));
        let chain = [leaf.clone(), issuer.pem.clone()].concat();
        for transport in super::TRANSPORTS {
            let identity = super::Credentials::Identity(&chain, &key);
            let registers = identity.register_as(id, &dps, transport).await;
            assert_eq!(registers, accepted, "{id} over {transport}");
        }
        let verifies = super::openssl::verifies(&root.pem, &issuer.pem, &leaf);
        assert_eq!(verifies, accepted, "{id}: openssl");
    }
}
