//! Upload, proof of possession, update, deletion: in the shapes that azure-cli recorded.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;
use sha1::{Digest, Sha1};
use tempfile::TempDir;

use super::{Cas, FOLDER, authority, upload};
use crate::common::{Dps, assert_etag, names};

/// `Fri, 06 May 2022 17:50:01 GMT`
fn assert_http_date(value: &serde_json::Value) {
    let text = value.as_str().expect("a date is text");
    let shape: String = text
        .chars()
        .map(|c| match c {
            '0'..='9' => '0',
            'a'..='z' => 'a',
            c => c,
        })
        .collect();
    let upper = |c: char| if c.is_ascii_uppercase() { 'A' } else { c };
    let shape: String = shape.chars().map(upper).collect();
    assert_eq!(shape, "Aaa, 00 Aaa 0000 00:00:00 AAA", "{text}");
}

#[tokio::test]
async fn a_certificate_has_the_form_of_the_control_plane() {
    let (dps, root) = (Dps::start().await, authority("Contoso Root"));
    let created = Cas(&dps).create("root", root.certificate_pem()).await;
    assert_eq!(
        names(&created),
        ["properties", "id", "name", "type", "etag"]
    );
    let properties = &created["properties"];
    assert_eq!(
        names(properties),
        [
            "subject",
            "expiry",
            "thumbprint",
            "isVerified",
            "created",
            "updated",
            "certificate"
        ]
    );
    let der = CertificateDer::from_pem_slice(root.certificate_pem().as_bytes()).expect("PEM");
    let thumbprint: String = Sha1::digest(&der)
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    assert_eq!(properties["subject"], "Contoso Root");
    assert_eq!(properties["thumbprint"], thumbprint);
    assert_eq!(properties["isVerified"], false);
    assert_eq!(properties["certificate"], json!(null));
    for date in ["expiry", "created", "updated"] {
        assert_http_date(&properties[date]);
    }
    assert_eq!(created["id"], format!("{FOLDER}/root"));
    assert_eq!(created["name"], "root");
    assert_eq!(
        created["type"],
        "Microsoft.Devices/provisioningServices/Certificates"
    );
    assert_etag(&created["etag"]);
    assert_eq!(Cas(&dps).get("root").await.json(), created);
    assert_eq!(Cas(&dps).list().await, json!([created]));
}

#[tokio::test]
async fn a_certificate_with_the_code_proves_possession() {
    let (dps, root) = (Dps::start().await, authority("Contoso Root"));
    let cas = Cas(&dps);
    let created = cas.create("root", root.certificate_pem()).await;

    let answer = cas.code("root", created["etag"].as_str()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let with_code = answer.json();
    let properties = &with_code["properties"];
    let code = properties["verificationCode"].as_str().expect("a code");
    assert_eq!(code.len(), 48);
    assert!(
        code.chars().all(|c| matches!(c, '0'..='9' | 'A'..='F')),
        "{code}"
    );
    let der = CertificateDer::from_pem_slice(root.certificate_pem().as_bytes()).expect("PEM");
    assert_eq!(properties["certificate"], STANDARD.encode(der));
    assert_eq!(properties["isVerified"], false);
    assert_ne!(with_code["etag"], created["etag"]);

    let proof = root.issue(code).expect("a certificate");
    // azure-cli sends base64 of the PEM.
    let pem = STANDARD.encode(proof.certificate_pem());
    let answer = cas.verify("root", with_code["etag"].as_str(), &pem).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let verified = answer.json();
    assert_eq!(verified["properties"]["isVerified"], true);
    assert_eq!(verified["properties"]["certificate"], json!(null));
    assert_ne!(verified["etag"], with_code["etag"]);
    assert_eq!(cas.get("root").await.json(), verified);

    // A code can be used once.
    let again = cas.verify("root", Some("*"), proof.certificate_pem()).await;
    assert_eq!(again.status, 400, "{again:?}");
}

#[tokio::test]
async fn a_certificate_can_be_uploaded_as_verified_and_in_the_older_form() {
    let (dps, root) = (Dps::start().await, authority("Contoso Root"));
    let cas = Cas(&dps);
    let pem = root.certificate_pem();
    for (name, body, verified) in [
        ("a", upload(pem, Some(true)), true),
        ("b", upload(pem, Some(false)), false),
        ("c", json!({ "certificate": pem, "isVerified": true }), true),
        ("d", json!({ "certificate": STANDARD.encode(pem) }), false),
    ] {
        let answer = cas.put(name, None, &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            answer.json()["properties"]["isVerified"],
            verified,
            "{name}"
        );
    }
    let all = cas.list().await;
    let listed: Vec<&str> = all
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    assert_eq!(listed, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn an_update_keeps_the_proof_of_the_same_certificate_only() {
    let (dps, root, other) = (
        Dps::start().await,
        authority("Contoso Root"),
        authority("Contoso Next"),
    );
    let cas = Cas(&dps);
    cas.create("root", root.certificate_pem()).await;
    let verified = cas.prove("root", &root).await;

    let etag = verified["etag"].as_str();
    let same = cas
        .put("root", etag, &upload(root.certificate_pem(), None))
        .await;
    assert_eq!(same.status, 200, "{same:?}");
    let same = same.json();
    assert_eq!(same["properties"]["isVerified"], true);
    assert_eq!(
        same["properties"]["created"],
        verified["properties"]["created"]
    );

    let etag = same["etag"].as_str();
    let next = cas
        .put("ROOT", etag, &upload(other.certificate_pem(), None))
        .await;
    assert_eq!(next.status, 200, "{next:?}");
    let next = next.json();
    assert_eq!(next["name"], "root");
    assert_eq!(next["properties"]["subject"], "Contoso Next");
    assert_eq!(next["properties"]["isVerified"], false);
}

#[tokio::test]
async fn a_deleted_certificate_does_not_exist() {
    let (dps, root) = (Dps::start().await, authority("Contoso Root"));
    let cas = Cas(&dps);
    let created = cas.create("root", root.certificate_pem()).await;
    let answer = cas.delete("root", created["etag"].as_str()).await;
    assert_eq!((answer.status, &*answer.text), (200, ""));
    assert_eq!(cas.get("root").await.status, 404);
    assert_eq!(cas.list().await, json!([]));
    assert_eq!(cas.delete("root", Some("*")).await.status, 204);
    cas.create("root", root.certificate_pem()).await;
}

#[tokio::test]
async fn certificates_survive_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let start = || Dps::start_with(|builder| builder.data_dir(dir.path()));
    let root = authority("Contoso Root");

    let dps = start().await;
    Cas(&dps).create("root", root.certificate_pem()).await;
    let with_code = Cas(&dps).code("root", Some("*")).await.json();
    dps.emulator.shutdown().await;

    let dps = start().await;
    let code = with_code["properties"]["verificationCode"].as_str();
    let proof = root.issue(code.expect("a code")).expect("a certificate");
    let answer = Cas(&dps)
        .verify("root", with_code["etag"].as_str(), proof.certificate_pem())
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    dps.emulator.shutdown().await;

    let dps = start().await;
    assert_eq!(Cas(&dps).list().await, json!([answer.json()]));
}
