//! Refused operations on CA certificates.

use std::sync::Arc;
use std::time::Duration;

use dps_emulator::{CertificateAuthority, DeviceCredentials, Limits};
use serde_json::json;

use super::{Cas, FOLDER, assert_refused, authority, upload};
use crate::common::verified_ca;
use crate::common::{Answer, Dps, KEY_3, TestClock};

const STALE: &str = "IjAwMDAwMDAwLTAwMDAtMDMwMC0wMDAwLTYzMGZkYThhMDAwMCI=";

#[tokio::test]
async fn a_change_requires_the_etag() {
    let (dps, root) = (Dps::start().await, authority("Contoso Root"));
    let cas = Cas(&dps);
    let created = cas.create("root", root.certificate_pem()).await;
    let body = upload(root.certificate_pem(), Some(true));
    let proof = root.issue("x").expect("a certificate");
    let proof = proof.certificate_pem();
    let stale = Some(STALE);
    for answer in [
        cas.put("root", stale, &body).await,
        cas.delete("root", stale).await,
        cas.code("root", stale).await,
        cas.verify("root", stale, proof).await,
    ] {
        assert_refused(
            &answer,
            412_001,
            "PreconditionFailed",
            "Precondition failed.",
        );
        assert_eq!(answer.header("x-ms-error-code"), Some("412001"));
    }
    let exists = "The certificate 'root' exists: its ETag is required in If-Match.";
    for answer in [
        cas.put("root", None, &body).await,
        cas.code("root", None).await,
        cas.verify("root", None, proof).await,
    ] {
        assert_refused(&answer, 412_001, "PreconditionFailed", exists);
    }
    let answer = cas.delete("root", None).await;
    assert_refused(
        &answer,
        400_004,
        "BadRequest",
        "The If-Match header is required.",
    );
    assert_eq!(cas.get("root").await.json(), created, "nothing happened");
}

#[tokio::test]
async fn missing_certificates() {
    let (dps, root) = (Dps::start().await, authority("Contoso Root"));
    let cas = Cas(&dps);
    for answer in [
        cas.get("root").await,
        cas.code("root", Some("*")).await,
        cas.verify("root", Some("*"), root.certificate_pem()).await,
    ] {
        assert_refused(&answer, 404_001, "NotFound", "Certificate not found.");
    }
    for (method, below) in [
        ("GET", "/a/b"),
        ("POST", "/a/verify/c"),
        ("GET", "/a/verify/c"),
    ] {
        let answer = Answer::to(cas.request(method, below)).await;
        assert_refused(&answer, 404_001, "NotFound", "Not found.");
    }
    for (method, below) in [
        ("POST", ""),
        ("PUT", ""),
        ("POST", "/a"),
        ("GET", "/a/verify"),
        ("PUT", "/a/generateVerificationCode"),
    ] {
        let answer = Answer::to(cas.request(method, below)).await;
        assert_refused(&answer, 405_000, "MethodNotAllowed", "Method not allowed.");
    }
}

#[tokio::test]
async fn the_path_is_read_as_resource_manager_reads_it() {
    let (dps, root) = (Dps::start().await, authority("Contoso Root"));
    Cas(&dps).create("root", root.certificate_pem()).await;
    let ask = async |path: &str, version: &str| {
        let token = dps.service_sas().sign(&dps.service_key);
        let request = dps.request("GET", &format!("{path}{version}"));
        Answer::to(request.header("Authorization", token)).await
    };
    let version = "?api-version=2022-12-12";
    for (path, version, status) in [
        (FOLDER.to_ascii_lowercase(), version, 200),
        (FOLDER.to_ascii_uppercase(), version, 200),
        (format!("{FOLDER}/"), version, 200),
        (FOLDER.replace("contoso", "other"), version, 200),
        (FOLDER.to_owned(), "?api-version=2021-10-15", 200),
        (FOLDER.to_owned(), "", 400),
        (FOLDER.to_owned(), "?api-version=2021-10-01", 400),
        (FOLDER.replace("Devices", "Storage"), version, 404),
        (FOLDER.replace("/certificates", "/keys"), version, 404),
        ("/subscriptions".to_owned(), version, 404),
    ] {
        let answer = ask(&path, version).await;
        assert_eq!(answer.status, status, "{path}{version}: {answer:?}");
    }
}

#[tokio::test]
async fn a_caller_without_service_config_is_refused() {
    let dps = Dps::start().await;
    let path = format!("{FOLDER}?api-version=2022-12-12");
    let device = dps.service_sas().sign(KEY_3);
    for token in [None, Some("Bearer x"), Some(&*device)] {
        let request = dps.request("GET", &path);
        let request = match token {
            Some(token) => request.header("Authorization", token),
            None => request,
        };
        let answer = Answer::to(request).await;
        assert_refused(&answer, 401_002, "Unauthorized", "Unauthorized");
    }
}

#[tokio::test]
async fn invalid_certificates_and_names_are_refused() {
    let (dps, root) = (Dps::start().await, authority("Contoso Root"));
    let cas = Cas(&dps);
    for body in [
        json!({}),
        json!([]),
        json!({ "properties": {} }),
        upload("", None),
        upload("-----BEGIN CERTIFICATE-----", None),
        upload("bm8gY2VydGlmaWNhdGU=", None),
    ] {
        let answer = cas.put("root", None, &body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert_eq!(answer.json()["code"], 400_004, "{body}");
    }
    let body = upload(root.certificate_pem(), None);
    for name in ["a%20b", "a%2Fb", "r%C3%B6t", &"a".repeat(257)] {
        let answer = cas.put(name, None, &body).await;
        assert_eq!(answer.status, 400, "{name}: {answer:?}");
    }
    assert_eq!(cas.put(&"a".repeat(256), None, &body).await.status, 200);
}

#[tokio::test]
async fn invalid_proofs_of_possession_are_refused() {
    let (dps, root, forger) = (
        Dps::start().await,
        authority("Contoso Root"),
        authority("Contoso Root"),
    );
    let cas = Cas(&dps);
    cas.create("root", root.certificate_pem()).await;
    let issue = |authority: &CertificateAuthority, name: &str| {
        let credentials = authority.issue(name).expect("a certificate");
        credentials.certificate_pem().to_owned()
    };
    let any = issue(&root, "x");
    let early = cas.verify("root", Some("*"), &any).await;
    let first = "Generate a verification code first.";
    assert_refused(&early, 400_004, "BadRequest", first);

    let code = async || {
        let answer = cas.code("root", Some("*")).await.json();
        let code = answer["properties"]["verificationCode"].as_str();
        code.expect("a code").to_owned()
    };
    let old = code().await;
    let new = code().await;
    let not_the_code =
        "The common name of the verification certificate is not the verification code.";
    let not_the_key = "The verification certificate is not signed by the certificate's key.";
    let itself = DeviceCredentials::self_signed(&new).expect("a certificate");
    for (proof, message) in [
        (issue(&root, &old), not_the_code),
        (issue(&root, "dev-1"), not_the_code),
        (root.certificate_pem().to_owned(), not_the_code),
        (issue(&forger, &new), not_the_key),
        (itself.certificate_pem().to_owned(), not_the_key),
    ] {
        let answer = cas.verify("root", Some("*"), &proof).await;
        assert_refused(&answer, 400_004, "BadRequest", message);
    }
    let shown = cas.get("root").await.json();
    assert_eq!(shown["properties"]["isVerified"], false);
    let good = cas.verify("root", Some("*"), &issue(&root, &new)).await;
    assert_eq!(good.status, 200, "a failed proof leaves the code: {good:?}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(Arc::new(clock.clone()))).await;
    let cas = Cas(&dps);
    let root = authority("Contoso Root");
    cas.create("root", root.certificate_pem()).await;
    let with_code = cas.code("root", Some("*")).await.json();
    let code = with_code["properties"]["verificationCode"].as_str();
    let proof = root.issue(code.expect("a code")).expect("a certificate");

    clock.advance(Duration::from_secs(100 * 365 * 24 * 60 * 60));
    let token = dps
        .service_sas()
        .se(clock.unix() + 3600)
        .sign(&dps.service_key);
    let ask = |method: &str, below: &str| {
        let path = format!("{FOLDER}{below}?api-version=2022-12-12");
        dps.request(method, &path)
            .header("Authorization", &token)
            .header("If-Match", "*")
    };
    let expired = "The certificate has expired.";
    let upload = ask("PUT", "/other").json(&upload(root.certificate_pem(), Some(true)));
    let verify =
        ask("POST", "/root/verify").json(&json!({ "certificate": proof.certificate_pem() }));
    for request in [upload, verify] {
        let answer = Answer::to(request).await;
        assert_refused(&answer, 400_004, "BadRequest", expired);
    }
}

#[tokio::test]
async fn the_number_is_limited() {
    let mut limits = Limits::default();
    limits.ca_certificates = 3;
    let given = authority("Given");
    let dps = Dps::start_with(|builder| {
        builder
            .limits(limits)
            .verified_ca(verified_ca("given", given.certificate_pem()))
    })
    .await;
    let cas = Cas(&dps);
    let root = authority("Contoso Root");
    cas.create("a", root.certificate_pem()).await;
    cas.create("b", root.certificate_pem()).await;
    let body = upload(root.certificate_pem(), None);
    let answer = cas.put("c", None, &body).await;
    let message = "The instance has reached its quota of 3 CA certificates.";
    assert_refused(&answer, 403_002, "Forbidden", message);
    assert_eq!(cas.put("a", Some("*"), &body).await.status, 200);
    cas.delete("a", Some("*")).await;
    cas.create("c", root.certificate_pem()).await;
}

#[tokio::test]
async fn the_service_accepts_25() {
    let dps = Dps::start().await;
    let cas = Cas(&dps);
    let root = authority("Contoso Root");
    for number in 0..25 {
        cas.create(&format!("ca-{number}"), root.certificate_pem())
            .await;
    }
    let body = upload(root.certificate_pem(), None);
    let answer = cas.put("ca-25", None, &body).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(cas.list().await.as_array().expect("a list").len(), 25);
}
