//! Paths that lead to the enrolled root, or seem to, and that RFC 5280, 6.1 does not allow.

use super::der::{
    Authority, BASIC_CONSTRAINTS, CLIENT, Draft, EXTENDED_KEY_USAGE, Key, SERVER, common_name,
    extension, pem, tlv,
};
use super::{Chain, compare, enroll};
use crate::common::Dps;

fn device() -> Draft {
    Draft::device(common_name("dev-1"))
}

fn line(name: &str) -> Draft {
    Draft::authority(common_name(name))
}

/// The chain of a device below this number of intermediates. The first one is of this draft.
fn below(root: &Authority, first: Draft, intermediates: usize) -> (Vec<String>, Authority) {
    let mut issuer = root.issue(first);
    let mut others = vec![issuer.pem.clone()];
    for number in 1..intermediates {
        issuer = issuer.issue(line(&format!("Line {number}")));
        others.insert(0, issuer.pem.clone());
    }
    (others, issuer)
}

fn lengths(root: &Authority) -> Vec<Chain> {
    let of = |name: &'static str, first: Draft, intermediates: usize| {
        let (others, issuer) = below(root, first, intermediates);
        Chain::new(name, issuer.device(device()), &others)
    };
    let limited = |length: u8| Draft::authority_above(common_name("Limited"), length);
    let mut chains = vec![
        of("one intermediate below pathLen 0", limited(0), 2),
        of("two intermediates below pathLen 0", limited(0), 3),
        of("two intermediates below pathLen 1", limited(1), 3),
        of("three intermediates below pathLen 2", limited(2), 4),
        of(
            "a pathLen without an authority",
            {
                let mut draft = limited(0);
                draft.extensions[0] = extension(BASIC_CONSTRAINTS, true, b"\x30\x03\x02\x01\x05");
                draft
            },
            1,
        ),
        of("a negative pathLen", limited(0xff), 2),
        of("more intermediates than the limit", line("Line"), 7).that_openssl_accepts(),
    ];
    // An intermediate below a longer limit does not raise the limit above it.
    let short = root.issue(limited(0));
    let raised = short.issue(Draft::authority_above(common_name("Raised"), 9));
    chains.push(Chain::new(
        "a longer pathLen below pathLen 0",
        raised.device(device()),
        &[raised.pem.clone(), short.pem.clone()],
    ));
    let mut many: Vec<String> = (0..16)
        .map(|number| root.issue(line(&format!("Unused {number}"))).pem)
        .collect();
    many.push(root.pem.clone());
    let too_many = Chain::new(
        "more certificates than the limit",
        root.device(device()),
        &many,
    );
    chains.push(too_many.that_openssl_accepts());
    chains
}

fn issuers(root: &Authority) -> Vec<Chain> {
    let genuine = root.issue(line("Line"));
    let stranger = Authority::root("Fabrikam Root");
    let of = |name: &'static str, issuer: &Authority, others: &[&String]| {
        let others: Vec<String> = others.iter().copied().cloned().collect();
        Chain::new(name, issuer.device(device()), &others)
    };
    let with_purpose = |purpose: &[u8]| {
        root.issue(line("Line").with(extension(EXTENDED_KEY_USAGE, false, purpose)))
    };
    let any = with_purpose(b"\x30\x06\x06\x04\x55\x1d\x25\x00");
    let server = with_purpose(SERVER);
    let client = server.issue(line("Line 2").with(extension(EXTENDED_KEY_USAGE, false, CLIENT)));
    // Two authorities that signed each other, and neither of which the root signed.
    let (a, b) = (Authority::root("A"), Authority::root("B"));
    let crossed = [
        pem(&line("A").sign(&a.key, &b)),
        pem(&line("B").sign(&b.key, &a)),
    ];
    let look_alike = |subject: Vec<u8>, signer: &Authority| signer.issue(Draft::authority(subject));
    let root_name = || common_name("Contoso Root");
    let false_root = look_alike(root_name(), &stranger);
    let false_line = look_alike(common_name("Line"), &stranger);
    let printable = super::der::name(&[&[(b"\x55\x04\x03", 0x13, b"Contoso Root")]]);
    let mut other_encoding = device();
    other_encoding.issuer = printable;
    let mut other_case = device();
    other_case.issuer = common_name("CONTOSO ROOT");
    let mut no_issuer = device();
    no_issuer.issuer = tlv(0x30, b"");
    // The device signs a certificate for another key, with the same name or another.
    let own = Key::new();
    let own_pem = pem(&device().sign(&own, root));
    let owner = Authority {
        key: own,
        subject: common_name("dev-1"),
        pem: own_pem,
    };
    let device_of_line = genuine.device(device());
    let other_key = Key::new().pem;
    let signed_by_stranger = stranger.device({
        let mut draft = device();
        draft.issuer = root_name();
        draft
    });
    vec![
        of("a loop without the root", &a, &[&crossed[0], &crossed[1]]),
        of(
            "a loop with the root after it",
            &a,
            &[&crossed[0], &crossed[1], &root.pem],
        ),
        of(
            "a loop of self-signed certificates",
            &a,
            &[&a.pem, &b.pem, &crossed[1]],
        ),
        of(
            "an authority of a stranger with the name of the root",
            &false_root,
            &[&false_root.pem, &stranger.pem],
        ),
        of(
            "the same, with the root in the place of the stranger",
            &false_root,
            &[&false_root.pem, &root.pem],
        ),
        of(
            "an authority of a stranger with the name of an intermediate",
            &false_line,
            &[&genuine.pem, &root.pem],
        ),
        of(
            "both intermediates of one name",
            &false_line,
            &[&genuine.pem, &false_line.pem, &root.pem],
        ),
        of("an intermediate for every purpose only", &any, &[&any.pem]),
        of(
            "an intermediate for clients below one for servers",
            &client,
            &[&client.pem, &server.pem],
        ),
        of(
            "a device that issues its own certificate",
            &owner,
            &[&owner.pem],
        ),
        of("the same, with the root", &owner, &[&owner.pem, &root.pem]),
        of(
            "a missing intermediate, and the root",
            &genuine,
            &[&root.pem],
        ),
        of(
            "an intermediate that is not its own",
            &genuine,
            &[&server.pem, &any.pem],
        ),
        Chain::new(
            "the name of the root, signed by a stranger",
            signed_by_stranger,
            &[root.pem.clone(), stranger.pem.clone()],
        ),
        Chain::new(
            "no issuer",
            root.device(no_issuer),
            std::slice::from_ref(&root.pem),
        ),
        // The names of RFC 5280, 7.1 are equal. webpki and the emulator compare their bytes.
        Chain::new(
            "the issuer in another encoding",
            root.device(other_encoding),
            &[],
        )
        .that_openssl_accepts(),
        Chain::new("the issuer in another case", root.device(other_case), &[])
            .that_openssl_accepts(),
        Chain::new(
            "the private key of another device",
            (device_of_line.0.clone(), other_key),
            std::slice::from_ref(&genuine.pem),
        )
        .that_openssl_accepts(),
        Chain::new(
            "the root with another key",
            (root.pem.clone(), Key::new().pem),
            &[],
        ),
        Chain::new(
            "the intermediate first",
            (genuine.pem.clone(), device_of_line.1.clone()),
            std::slice::from_ref(&device_of_line.0),
        ),
        Chain::new(
            "an intermediate as the device",
            (genuine.pem.clone(), genuine.key.pem.clone()),
            &[],
        ),
    ]
}

/// Unusual chains that are valid.
fn genuine(root: &Authority) -> Vec<Chain> {
    let first = root.issue(line("Line 1"));
    let second = first.issue(line("Line 2"));
    let crossed = pem(&line("Line 1").sign(&first.key, &Authority::root("Fabrikam Root")));
    let unused = root.issue(line("Unused"));
    let of = |name: &'static str, others: &[&String]| {
        let others: Vec<String> = others.iter().copied().cloned().collect();
        Chain::new(name, second.device(device()), &others)
    };
    let (six, sixth) = below(root, line("Line"), 6);
    vec![
        of("the intermediates in reverse", &[&first.pem, &second.pem]),
        of(
            "the root in the middle",
            &[&second.pem, &root.pem, &first.pem],
        ),
        of(
            "an intermediate twice",
            &[&second.pem, &second.pem, &first.pem],
        ),
        of(
            "a certificate that is not needed",
            &[&unused.pem, &second.pem, &first.pem],
        ),
        of(
            "a cross-signed intermediate",
            &[&second.pem, &first.pem, &crossed],
        ),
        Chain::new("six intermediates", sixth.device(device()), &six),
        Chain::new("genuine", root.device(device()), &[]),
    ]
}

#[tokio::test]
async fn no_path_that_is_not_valid_registers_a_device() {
    let dps = Dps::start().await;
    let root = Authority::root("Contoso Root");
    enroll(&dps, "root", &root.pem).await;
    let forgeries = [lengths(&root), issuers(&root)];
    let forgeries: Vec<Chain> = forgeries.into_iter().flatten().collect();
    compare(&dps, &root.pem, &forgeries, &genuine(&root)).await;
}
