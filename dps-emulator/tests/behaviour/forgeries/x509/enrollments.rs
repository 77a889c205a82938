//! Certificates that an enrollment does not accept, or not any more: another certificate of an individual enrollment, and
//! enrollments and CA certificates that were disabled, deleted or replaced.

use dps_emulator::CertificateAuthority;
use serde_json::{Value, json};

use super::der::{Authority, Draft, ECDSA_SHA256, Key, common_name, pem, signed, tlv};
use super::{Chain, TRANSPORTS, enroll};
use crate::common::{
    Answer, Dps, KEY_1, KEY_2, certificate_enrollment, certificate_group, key_enrollment, with,
};

fn device() -> Draft {
    Draft::device(common_name("dev-1"))
}

async fn is_refused(dps: &Dps, chain: &Chain) {
    for transport in TRANSPORTS {
        let accepted = chain.registers(dps, transport).await;
        assert!(!accepted, "{} over {transport}", chain.name);
    }
}

async fn is_accepted(dps: &Dps, chain: &Chain) {
    for transport in TRANSPORTS {
        let accepted = chain.registers(dps, transport).await;
        assert!(accepted, "{} over {transport}", chain.name);
    }
}

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
    0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The same certificate with the other ECDSA signature that is valid for it: `s` is replaced by the order minus `s`.
fn with_other_signature(der: &[u8]) -> Vec<u8> {
    let content = usize::from(u16::from_be_bytes([der[6], der[7]]));
    let (content, rest) = der[4..].split_at(4 + content);
    // The tag, the length and the unused bits of the BIT STRING, and the tag and the length of the SEQUENCE.
    let numbers = &rest[ECDSA_SHA256.len() + 5..];
    let (r, s) = numbers.split_at(2 + usize::from(numbers[1]));
    let mut s = s[2..].to_vec();
    s.drain(..s.len().saturating_sub(32));
    let mut other = vec![0; 32];
    let mut borrow = 0;
    for at in (0..32).rev() {
        let digit = (at + s.len())
            .checked_sub(32)
            .map_or(0, |at| i16::from(s[at]));
        let difference = i16::from(ORDER[at]) - digit - borrow;
        borrow = i16::from(difference < 0);
        other[at] = u8::try_from(difference.rem_euclid(256)).expect("a byte");
    }
    let start = other.iter().position(|byte| *byte != 0).expect("not zero");
    let mut other = other.split_off(start);
    if other[0] >= 0x80 {
        other.insert(0, 0);
    }
    let signature = tlv(0x30, &[r, &tlv(0x02, &other)].concat());
    signed(content, ECDSA_SHA256, &signature)
}

#[tokio::test]
async fn only_the_enrolled_certificate_registers_an_individual_enrollment() {
    let dps = Dps::start().await;
    let root = Authority::root("Contoso Root");
    let key = Key::new();
    let enrolled = device().sign(&key, &root);
    let (neighbour, neighbour_key) = root.device(Draft::device(common_name("dev-2")));
    for (id, pem) in [("dev-1", &pem(&enrolled)), ("dev-2", &neighbour)] {
        let path = format!("/enrollments/{id}");
        dps.create(&path, &certificate_enrollment(id, pem)).await;
    }
    // The root's group does not apply to a device with an individual enrollment.
    enroll(&dps, "root", &root.pem).await;
    let other_key = || Key::new().pem;
    let same_key = |draft: Draft| (pem(&draft.sign(&key, &root)), key.pem.clone());
    let of_der = |der: &[u8]| (pem(der), key.pem.clone());
    let other_signature = with_other_signature(&enrolled);
    let owner = Authority {
        subject: common_name("dev-1"),
        pem: pem(&enrolled),
        key: Key::new(),
    };
    for chain in [
        Chain::new(
            "another certificate of the root",
            root.device(device()),
            &[],
        ),
        Chain::new(
            "the same key and another signature",
            same_key(device()),
            &[],
        ),
        Chain::new(
            "the same key and another serial number",
            {
                let mut draft = device();
                draft.serial = vec![0x2b];
                same_key(draft)
            },
            &[],
        ),
        Chain::new(
            "the other valid signature of the same content",
            of_der(&other_signature),
            &[],
        ),
        Chain::new(
            "a byte after the certificate",
            of_der(&[&enrolled[..], b"\0"].concat()),
            &[],
        ),
        Chain::new(
            "the certificate with another key",
            (pem(&enrolled), other_key()),
            &[],
        ),
        Chain::new(
            "the certificate of another enrollment",
            (neighbour.clone(), neighbour_key.clone()),
            &[],
        ),
        Chain::new(
            "the certificate after that of another device",
            (neighbour, neighbour_key),
            &[pem(&enrolled)],
        ),
        Chain::new(
            "the certificate after one of the same name",
            root.device(device()),
            &[pem(&enrolled)],
        ),
        Chain::new(
            "a certificate that the enrolled one seems to have signed",
            owner.device(device()),
            &[pem(&enrolled)],
        ),
    ] {
        is_refused(&dps, &chain).await;
    }
    assert!(super::openssl::verifies(
        &root.pem,
        "",
        &pem(&other_signature)
    ));
    is_accepted(&dps, &Chain::new("genuine", of_der(&enrolled), &[])).await;
}

#[tokio::test]
async fn no_disabled_deleted_or_replaced_enrollment_registers_a_device() {
    let dps = Dps::start().await;
    let root = Authority::root("Contoso Root");
    let line = root.issue(Draft::authority(common_name("Line")));
    let certificates = line.device(device());
    let chain = |name| Chain::new(name, certificates.clone(), std::slice::from_ref(&line.pem));
    let put = async |path: &str, document: Value| {
        let answer = dps.put_if(path, "*", &document).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let disabled = json!({ "provisioningStatus": "disabled" });
    is_refused(&dps, &chain("no enrollment")).await;
    let group = certificate_group("root", &root.pem);
    dps.create(
        "/enrollmentGroups/root",
        &with(group.clone(), disabled.clone()),
    )
    .await;
    is_refused(&dps, &chain("a disabled group")).await;
    put("/enrollmentGroups/root", group.clone()).await;
    let nearer = certificate_group("line", &line.pem);
    dps.create("/enrollmentGroups/line", &with(nearer, disabled.clone()))
        .await;
    is_refused(&dps, &chain("a disabled group of the intermediate")).await;
    dps.delete("/enrollmentGroups/line").await;
    let own = Authority::root("Fabrikam Root").device(device()).0;
    let individual = certificate_enrollment("dev-1", &own);
    dps.create("/enrollments/dev-1", &individual).await;
    is_refused(
        &dps,
        &chain("an individual enrollment of another certificate"),
    )
    .await;
    put("/enrollments/dev-1", key_enrollment("dev-1", KEY_1, KEY_2)).await;
    is_refused(&dps, &chain("an individual enrollment with a key")).await;
    let exact = certificate_enrollment("dev-1", &certificates.0);
    put("/enrollments/dev-1", with(exact, disabled)).await;
    is_refused(&dps, &chain("a disabled individual enrollment")).await;
    dps.delete("/enrollments/dev-1").await;
    put(
        "/enrollmentGroups/root",
        certificate_group("root", &Authority::root("Contoso Root").pem),
    )
    .await;
    is_refused(&dps, &chain("a group with a new root of the same name")).await;
    put("/enrollmentGroups/root", group).await;
    is_accepted(&dps, &chain("genuine")).await;
    dps.delete("/enrollmentGroups/root").await;
    is_refused(&dps, &chain("a deleted group")).await;
}

const CAS: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/dps/certificates";

async fn ca(dps: &Dps, method: &str, name: &str, body: Option<Value>) -> Answer {
    let token = dps.service_sas().sign(&dps.service_key);
    let path = format!("{CAS}/{name}?api-version=2022-12-12");
    let request = dps.request(method, &path);
    let request = request.header("Authorization", token);
    let request = match body {
        Some(body) => request.json(&body),
        None => request.header("If-Match", "*"),
    };
    Answer::to(request).await
}

/// An instance that requires a proof of possession of the CA.
#[tokio::test]
async fn no_signer_without_a_verified_ca_registers_a_device() {
    let dps = Dps::start_with(|builder| builder.require_verified_ca(true)).await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let same_name = CertificateAuthority::new("Contoso Root").expect("a CA");
    let line = root.intermediate("Contoso Line").expect("a CA");
    let issued = line.issue("dev-1").expect("a certificate");
    let chain = |name| Chain {
        name,
        leaf: issued.certificate_pem().to_owned(),
        others: vec![line.certificate_pem().to_owned()],
        key: issued.private_key_pem().to_owned(),
        openssl_accepts: true,
    };
    let upload = |pem: &str, is_verified: bool| {
        Some(json!({ "properties": { "certificate": pem, "isVerified": is_verified } }))
    };
    let reference = json!({
        "enrollmentGroupId": "line",
        "attestation": { "type": "x509", "x509": { "caReferences": { "primary": "contoso" } } },
    });
    enroll(&dps, "line", line.certificate_pem()).await;
    is_refused(&dps, &chain("no CA certificate")).await;
    assert_eq!(
        ca(
            &dps,
            "PUT",
            "contoso",
            upload(root.certificate_pem(), false)
        )
        .await
        .status,
        200
    );
    is_refused(&dps, &chain("a CA certificate that is not verified")).await;
    assert_eq!(
        dps.put_if("/enrollmentGroups/line", "*", &reference)
            .await
            .status,
        200
    );
    is_refused(
        &dps,
        &chain("a reference to a CA certificate that is not verified"),
    )
    .await;
    let named = upload(same_name.certificate_pem(), true);
    assert_eq!(ca(&dps, "PUT", "other", named).await.status, 200);
    enroll(&dps, "signer", line.certificate_pem()).await;
    is_refused(&dps, &chain("a verified CA certificate of the same name")).await;
    assert_eq!(ca(&dps, "DELETE", "contoso", None).await.status, 200);
    is_refused(&dps, &chain("a reference to a deleted CA certificate")).await;
    let verified = upload(root.certificate_pem(), true);
    assert_eq!(ca(&dps, "PUT", "contoso", verified).await.status, 200);
    is_accepted(&dps, &chain("genuine")).await;
    assert_eq!(ca(&dps, "DELETE", "contoso", None).await.status, 200);
    is_refused(
        &dps,
        &chain("a CA certificate that was deleted after the registration"),
    )
    .await;
}
