//! Trusted signers: all that an operator enrolls, or only those that chain to a verified CA.

use dps_emulator::CertificateAuthority;
use serde_json::{Value, json};

use crate::common::verified_ca;
use crate::common::{Answer, Dps, certificate_group};

const NOT_FOUND: &str = "CA certificate not found.";

fn authority(name: &str) -> CertificateAuthority {
    CertificateAuthority::new(name).expect("a CA")
}

async fn strict(name: &str, verified: &CertificateAuthority) -> Dps {
    Dps::start_with(|builder| {
        builder
            .require_verified_ca(true)
            .verified_ca(verified_ca(name, verified.certificate_pem()))
    })
    .await
}

async fn register(dps: &Dps, authority: &CertificateAuthority) -> Answer {
    let credentials = authority.issue("dev-1").expect("a certificate");
    dps.device("dev-1")
        .certificate(&credentials)
        .register()
        .await
}

fn reference(primary: &str, secondary: Option<&str>) -> Value {
    json!({
        "enrollmentGroupId": "contoso",
        "attestation": { "type": "x509", "x509": { "caReferences": {
            "primary": primary,
            "secondary": secondary,
        } } },
    })
}

#[tokio::test]
async fn an_enrolled_signer_is_trusted_by_default() {
    let (dps, root) = (Dps::start().await, authority("Contoso Root"));
    let group = certificate_group("contoso", root.certificate_pem());
    dps.create("/enrollmentGroups/contoso", &group).await;
    assert_eq!(register(&dps, &root).await.status, 202);
}

#[tokio::test]
async fn a_strict_instance_does_not_trust_an_unverified_signer() {
    let (root, other) = (authority("Contoso Root"), authority("Fabrikam Root"));
    let dps = strict("fabrikam", &other).await;
    let group = certificate_group("contoso", root.certificate_pem());
    dps.create("/enrollmentGroups/contoso", &group).await;
    register(&dps, &root).await.assert_error(401_002, NOT_FOUND);
}

#[tokio::test]
async fn a_strict_instance_trusts_a_verified_signer() {
    let root = authority("Contoso Root");
    let dps = strict("contoso", &root).await;
    let group = certificate_group("contoso", root.certificate_pem());
    dps.create("/enrollmentGroups/contoso", &group).await;
    assert_eq!(register(&dps, &root).await.status, 202);
}

#[tokio::test]
async fn a_strict_instance_trusts_a_signer_below_a_verified_ca() {
    let root = authority("Contoso Root");
    let line = root.intermediate("Contoso Line 1").expect("a CA");
    let dps = strict("contoso", &root).await;
    let group = certificate_group("line-1", line.certificate_pem());
    dps.create("/enrollmentGroups/line-1", &group).await;
    assert_eq!(register(&dps, &line).await.status, 202);
}

#[tokio::test]
async fn a_verified_ca_alone_enrolls_no_device() {
    let root = authority("Contoso Root");
    let dps = strict("contoso", &root).await;
    register(&dps, &root).await.assert_error(401_002, NOT_FOUND);
}

#[tokio::test]
async fn a_group_may_refer_to_a_verified_ca_by_name() {
    let root = authority("Contoso Root");
    let line = root.intermediate("Contoso Line 1").expect("a CA");
    for required in [false, true] {
        let dps = Dps::start_with(|builder| {
            builder
                .require_verified_ca(required)
                .verified_ca(verified_ca("contoso-root", root.certificate_pem()))
        })
        .await;
        let shown = dps
            .create(
                "/enrollmentGroups/contoso",
                &reference("contoso-root", None),
            )
            .await;
        assert_eq!(
            shown["attestation"],
            json!({ "type": "x509", "x509": { "caReferences": { "primary": "contoso-root" } } })
        );
        assert_eq!(register(&dps, &root).await.status, 202);
        assert_eq!(register(&dps, &line).await.status, 202);
    }
}

#[tokio::test]
async fn both_references_are_used_and_an_unknown_one_matches_nothing() {
    let (old, new) = (authority("Contoso Old"), authority("Contoso New"));
    let dps = Dps::start_with(|builder| {
        builder
            .verified_ca(verified_ca("old", old.certificate_pem()))
            .verified_ca(verified_ca("new", new.certificate_pem()))
    })
    .await;
    let path = "/enrollmentGroups/contoso";
    dps.create(path, &reference("old", Some("new"))).await;
    assert_eq!(register(&dps, &old).await.status, 202);
    assert_eq!(register(&dps, &new).await.status, 202);

    dps.put_if(path, "*", &reference("gone", None)).await;
    register(&dps, &old).await.assert_error(401_002, NOT_FOUND);
}

#[tokio::test]
async fn a_verified_ca_does_not_make_its_issuer_trusted() {
    let root = authority("Contoso Root");
    let line = root.intermediate("Contoso Line 1").expect("a CA");
    let dps = strict("line-1", &line).await;
    let group = certificate_group("contoso", root.certificate_pem());
    dps.create("/enrollmentGroups/contoso", &group).await;
    register(&dps, &line).await.assert_error(401_002, NOT_FOUND);
}
