//! Certificates that DPS issues: the answer of a registration with a certificate request, and the requests that are refused.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_emulator::fault::{Effect, Fault, Step};
use dps_emulator::{DeviceCredentials, EmulatorBuilder, ErrorKind, Limits};
use dps_types::ErrorCode;
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use serde_json::{Value, json};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage, SubjectAltName,
};

use crate::common::{
    Answer, Csr, Device, Dps, KEY_1, KEY_2, TestClock, certificate_enrollment, issuing,
    key_enrollment, names, with,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An emulator with the authority `contoso/factory-1/thermostats`, and the enrollment of `dev-1`, which names it.
async fn dps_with(choose: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> (Dps, Device) {
    let dps = Dps::start_with(|builder| {
        let authority = "contoso/factory-1/thermostats=7".parse().expect("valid");
        choose(builder.certificate_authority(authority))
    })
    .await;
    enroll(&dps, &issuing("dev-1")).await;
    let device = dps.device("dev-1").key(KEY_1).version("2026-11-01");
    (dps, device)
}

async fn dps() -> (Dps, Device) {
    dps_with(|builder| builder).await
}

async fn enroll(dps: &Dps, document: &Value) {
    let id = document["registrationId"].as_str().expect("an id");
    let put = dps.service_at("2026-11-01", "PUT", &format!("/enrollments/{id}"));
    let answer = Answer::to(put.json(document)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn chain(document: &Value) -> Vec<Certificate> {
    let chain = document["registrationState"]["issuedCertificateChain"].as_array();
    let chain = chain.unwrap_or_else(|| panic!("no chain: {document}"));
    let read = |text: &Value| {
        let der = STANDARD.decode(text.as_str().expect("text"));
        Certificate::from_der(&der.expect("base64")).expect("a certificate")
    };
    chain.iter().map(read).collect()
}

fn seconds(certificate: &Certificate) -> (u64, u64) {
    let validity = certificate.tbs_certificate().validity();
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
    (seconds(validity.not_before), seconds(validity.not_after))
}

#[tokio::test]
async fn an_assigned_device_gets_a_chain_for_its_key() {
    let clock = TestClock::now();
    let now = clock.unix();
    let (dps, device) = dps_with(|builder| builder.clock(std::sync::Arc::new(clock))).await;
    for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
        let csr = Csr::with_key("dev-1", algorithm);
        let document = device.provision_with(csr.body()).await;
        assert_eq!(document["status"], "assigned", "{document}");
        let chain = chain(&document);
        assert_eq!(chain.len(), 3);
        let [leaf, intermediate, root] = &chain[..] else {
            panic!("three certificates");
        };

        assert_eq!(leaf.tbs_certificate().subject().to_string(), "CN=dev-1");
        for (certificate, issuer) in [(leaf, intermediate), (intermediate, root), (root, root)] {
            let body = certificate.tbs_certificate();
            assert_eq!(body.issuer(), issuer.tbs_certificate().subject());
            // ecdsa-with-SHA384
            let algorithm = certificate.signature_algorithm().oid.to_string();
            assert_eq!(algorithm, "1.2.840.10045.4.3.3");
        }
        let root_pem = dps.emulator.issuance().root_pem("contoso", "factory-1");
        let pem = STANDARD.encode(root.to_der().expect("DER"));
        let text: String = root_pem.expect("a root").lines().collect();
        assert_eq!(
            text,
            format!("-----BEGIN CERTIFICATE-----{pem}-----END CERTIFICATE-----")
        );

        let (start, end) = seconds(leaf);
        assert!(start <= now && now - start <= 3600, "{start} {now}");
        assert_eq!(end - now, 7 * 86_400);
        let (_, end) = seconds(intermediate);
        assert_eq!(end - now, 365 * 86_400);
        let (_, end) = seconds(root);
        assert_eq!(end - now, 3650 * 86_400);

        // The key is the device's: it opens the hub in another test; here its bits are compared.
        let key = rcgen::KeyPair::from_pem(&csr.key_pem).expect("a key");
        let issued = leaf.tbs_certificate().subject_public_key_info();
        let bits = issued.subject_public_key.raw_bytes();
        assert_eq!(bits, rcgen::PublicKeyData::der_bytes(&key));
    }
}

#[tokio::test]
async fn a_leaf_is_a_tls_client_with_addresses_and_a_credential_identifier() {
    let (_dps, device) = dps().await;
    let mut identifiers = Vec::new();
    for _ in 0..2 {
        let document = device.provision_with(Csr::new("dev-1").body()).await;
        let chain = chain(&document);
        let leaf = chain[0].tbs_certificate();
        let (_, usage) = leaf.get_extension::<ExtendedKeyUsage>().unwrap().unwrap();
        let usage: Vec<String> = usage.0.iter().map(ToString::to_string).collect();
        assert_eq!(usage, ["1.3.6.1.5.5.7.3.2"], "clientAuth alone");
        let (critical, usage) = leaf.get_extension::<KeyUsage>().unwrap().unwrap();
        assert!(critical && usage.digital_signature() && !usage.key_cert_sign());
        for body in [leaf, chain[1].tbs_certificate()] {
            let lists = body.get_extension::<CrlDistributionPoints>();
            assert_eq!(lists.unwrap().unwrap().1.0.len(), 1);
            let issuers = body.get_extension::<AuthorityInfoAccessSyntax>();
            assert_eq!(issuers.unwrap().unwrap().1.0.len(), 1);
        }
        let (_, names) = leaf.get_extension::<SubjectAltName>().unwrap().unwrap();
        let [GeneralName::UniformResourceIdentifier(uri)] = &names.0[..] else {
            panic!("one URI: {names:?}");
        };
        assert!(uri.as_str().starts_with("urn:uuid:"), "{uri}");
        identifiers.push((uri.to_string(), leaf.serial_number().clone()));
    }
    assert_eq!(
        identifiers[0].0, identifiers[1].0,
        "one identifier per device"
    );
    assert_ne!(identifiers[0].1, identifiers[1].1, "two certificates");
}

#[tokio::test]
async fn only_the_status_of_the_operation_has_the_chain() {
    let (dps, device) = dps().await;
    let accepted = device.register_with(Csr::new("dev-1").body()).await;
    assert_eq!(accepted.status, 202);
    assert_eq!(names(&accepted.json()), ["operationId", "status"]);
    let operation = accepted.json()["operationId"].as_str().unwrap().to_owned();
    let document = device.finish(&operation).await;
    assert_eq!(chain(&document).len(), 3);
    let again = device.poll(&operation).await.json();
    assert_eq!(chain(&again).len(), 3, "until the next registration");

    for shown in [
        device.lookup().await.json(),
        Answer::to(dps.service_at("2026-11-01", "GET", "/registrations/dev-1"))
            .await
            .json(),
        device
            .clone()
            .version("2021-06-01")
            .poll(&operation)
            .await
            .json()["registrationState"]
            .take(),
    ] {
        assert_eq!(shown["status"], "assigned", "{shown}");
        assert!(shown.get("issuedCertificateChain").is_none(), "{shown}");
    }
    let without = device.provision().await;
    let state = &without["registrationState"];
    assert!(state.get("issuedCertificateChain").is_none(), "{state}");
}

#[tokio::test]
async fn a_look_up_with_a_certificate_request_is_refused() {
    let (_dps, device) = dps().await;
    device.assigned().await;
    let body = Csr::new("dev-1").body();
    let request = device.request("POST", "").json(&body);
    Answer::to(request).await.assert_error(
        400_004,
        "A status look-up must not have a csr: register to get a certificate.",
    );
    let older = device.version("2021-06-01").request("POST", "").json(&body);
    assert_eq!(Answer::to(older).await.status, 200, "it ignores the member");
}

#[tokio::test]
async fn requests_that_cannot_be_answered_are_refused() {
    let (dps, device) = dps().await;
    let good = Csr::new("dev-1").base64;
    let pem =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{good}\n-----END CERTIFICATE REQUEST-----");
    for (csr, message) in [
        (
            pem,
            "The csr is not valid: it is PEM: send the base64 text without the lines BEGIN and END.",
        ),
        (
            good[..40].to_owned(),
            "The csr is not valid: it is not PKCS#10 in DER.",
        ),
        (
            Csr::new("DEV-1").base64,
            "The csr is not valid: its common name is 'DEV-1', and must be exactly 'dev-1'.",
        ),
        (
            Csr::new("dev-2").base64,
            "The csr is not valid: its common name is 'dev-2', and must be exactly 'dev-1'.",
        ),
    ] {
        let answer = device.register_with(json!({ "csr": csr })).await;
        answer.assert_error(400_004, message);
    }
    let refused = device.register_with(json!({ "csr": "?" })).await;
    assert!(refused.text.contains("it is not base64"), "{refused:?}");
    let refused = device.register_with(json!({ "csr": 1 })).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let rsa = dps.device("dev-1").key(KEY_1).version("2026-11-01");
    let rsa = rsa.register_with(json!({ "csr": RSA })).await;
    rsa.assert_error(
        400_004,
        "The csr is not valid: its key is RSA: use ECDSA on P-256 or P-384.",
    );
}

#[tokio::test]
async fn rsa_is_accepted_if_the_authority_accepts_it() {
    let dps = Dps::start_with(|builder| {
        builder.certificate_authority("contoso/factory-1/thermostats,rsa".parse().unwrap())
    })
    .await;
    enroll(&dps, &issuing("dev-1")).await;
    let device = dps.device("dev-1").key(KEY_1).version("2026-11-01");
    let document = device.provision_with(json!({ "csr": RSA })).await;
    assert_eq!(chain(&document).len(), 3);
}

#[tokio::test]
async fn the_enrollment_must_name_an_authority_that_exists() {
    let (dps, _) = dps().await;
    let csr = |id: &str| Csr::new(id).body();
    let none = key_enrollment("dev-2", KEY_1, KEY_2);
    let part = with(
        key_enrollment("dev-3", KEY_1, KEY_2),
        json!({ "namespaceName": "contoso" }),
    );
    let unknown = with(
        issuing("dev-4"),
        json!({ "certificateAuthorityName": "factory-2" }),
    );
    let policy = with(
        issuing("dev-5"),
        json!({ "certificatePolicyName": "pumps" }),
    );
    let names_none = "The csr cannot be answered: the enrollment does not name a certificate authority. Set namespaceName, certificateAuthorityName and certificatePolicyName.";
    for (document, message) in [
        (none, names_none),
        (part, names_none),
        (
            unknown,
            "The csr cannot be answered: the certificate authority 'factory-2' does not exist in the namespace 'contoso'.",
        ),
        (
            policy,
            "The csr cannot be answered: the certificate authority 'factory-1' has the policy 'thermostats', and the enrollment names 'pumps'.",
        ),
    ] {
        let id = document["registrationId"].as_str().unwrap();
        enroll(&dps, &document).await;
        let device = dps.device(id).key(KEY_1).version("2026-11-01");
        device
            .register_with(csr(id))
            .await
            .assert_error(400_004, message);
        // Without a certificate request the device registers as usual.
        assert_eq!(device.provision().await["status"], "assigned");
    }
}

#[tokio::test]
async fn the_preview_of_2025_names_a_policy_alone() {
    let (dps, _) = dps().await;
    let document = with(
        key_enrollment("dev-2", KEY_1, KEY_2),
        json!({ "credentialPolicyName": "thermostats" }),
    );
    let put = dps.service_at("2025-07-01-preview", "PUT", "/enrollments/dev-2");
    assert_eq!(Answer::to(put.json(&document)).await.status, 200);
    let device = dps.device("dev-2").key(KEY_1).version("2025-07-01-preview");
    let document = device.provision_with(Csr::new("dev-2").body()).await;
    assert_eq!(chain(&document).len(), 3);
}

#[tokio::test]
async fn a_device_with_a_certificate_and_one_of_a_group_get_one_too() {
    let (dps, _) = dps().await;
    let factory = DeviceCredentials::self_signed("dev-2").unwrap();
    let names = json!({
        "namespaceName": "contoso",
        "certificateAuthorityName": "FACTORY-1",
        "certificatePolicyName": "thermostats",
    });
    let document = certificate_enrollment("dev-2", factory.certificate_pem());
    enroll(&dps, &with(document, names.clone())).await;
    let device = dps
        .device("dev-2")
        .certificate(&factory)
        .version("2026-11-01");
    let document = device.provision_with(Csr::new("dev-2").body()).await;
    assert_eq!(chain(&document).len(), 3);

    let group = with(crate::common::key_group("g", KEY_1, KEY_2), names);
    let put = dps.service_at("2026-11-01", "PUT", "/enrollmentGroups/g");
    assert_eq!(Answer::to(put.json(&group)).await.status, 200);
    let key = crate::common::derive(KEY_1, "Dev-3");
    let device = dps.device("Dev-3").key(&key).version("2026-11-02-preview");
    let document = device.provision_with(Csr::new("Dev-3").body()).await;
    assert_eq!(
        chain(&document)[0].tbs_certificate().subject().to_string(),
        "CN=Dev-3"
    );
}

#[tokio::test]
async fn a_fault_delays_the_issuance_or_makes_it_fail() {
    let (dps, device) = dps().await;
    let code = ErrorCode::new(503_001);
    dps.emulator
        .faults()
        .next(Fault::new(Step::IssueCertificate, Effect::Refuse(code)));
    let failed = device.provision_with(Csr::new("dev-1").body()).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    assert_eq!(failed["registrationState"]["errorCode"], 503_001);
    let document = device.provision_with(Csr::new("dev-1").body()).await;
    assert_eq!(chain(&document).len(), 3);

    let delay = Effect::Delay(Duration::from_secs(600));
    dps.emulator
        .faults()
        .next(Fault::new(Step::IssueCertificate, delay));
    let accepted = device.register_with(Csr::new("dev-1").body()).await;
    dps.emulator.faults().used_up().await;
    let operation = accepted.json()["operationId"].as_str().unwrap().to_owned();
    assert_eq!(device.poll(&operation).await.status, 202);
}

#[tokio::test]
async fn a_registration_that_joins_another_gets_a_certificate_for_its_latest_key() {
    let (_dps, device) = dps_with(|builder| builder.assign_delay(Duration::from_secs(2))).await;
    let first = device.register_with(Csr::new("dev-1").body()).await.json();
    let csr = Csr::new("dev-1");
    let second = device.register_with(csr.body()).await.json();
    assert_eq!(first["operationId"], second["operationId"]);
    let document = device.finish(second["operationId"].as_str().unwrap()).await;
    let key = rcgen::KeyPair::from_pem(&csr.key_pem).unwrap();
    let leaf = &chain(&document)[0];
    let issued = leaf.tbs_certificate().subject_public_key_info();
    let bits = issued.subject_public_key.raw_bytes();
    assert_eq!(bits, rcgen::PublicKeyData::der_bytes(&key));
}

#[tokio::test]
async fn a_device_gets_20_certificates_a_day_if_rates_are_limited() {
    let clock = TestClock::now();
    let shared = std::sync::Arc::new(clock.clone());
    let mut limits = Limits::default();
    limits.set("certificates-per-day", 2).unwrap();
    let (_dps, device) = dps_with(|builder| builder.clock(shared).limits(limits)).await;
    for _ in 0..2 {
        let document = device.provision_with(Csr::new("dev-1").body()).await;
        assert_eq!(chain(&document).len(), 3);
    }
    let refused = device.register_with(Csr::new("dev-1").body()).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    device.provision().await;
    clock.advance(DAY);
    let document = device.provision_with(Csr::new("dev-1").body()).await;
    assert_eq!(chain(&document).len(), 3);
    assert_eq!(Limits::default().certificates_per_day, None);
    assert_eq!(Limits::default().throttled().certificates_per_day, Some(20));
}

#[tokio::test]
async fn the_authority_outlives_a_restart_and_its_intermediate_is_renewed_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = TestClock::now();
    let shared = std::sync::Arc::new(clock.clone());
    let start = || {
        let (shared, dir) = (shared.clone(), dir.path());
        dps_with(move |builder| builder.clock(shared).data_dir(dir))
    };
    let (dps, device) = start().await;
    let first = chain(&device.provision_with(Csr::new("dev-1").body()).await);
    dps.emulator.shutdown().await;

    let dps = Dps::start_with(|builder| {
        let authority = "contoso/factory-1/thermostats=7".parse().unwrap();
        let builder = builder.certificate_authority(authority);
        builder.clock(shared.clone()).data_dir(dir.path())
    })
    .await;
    let device = dps.device("dev-1").key(KEY_1).version("2026-11-01");
    let second = chain(&device.provision_with(Csr::new("dev-1").body()).await);
    assert_eq!(first[1..], second[1..]);

    clock.advance(300 * DAY);
    let third = chain(&device.provision_with(Csr::new("dev-1").body()).await);
    assert_ne!(third[1], second[1], "a new intermediate");
    assert_eq!(third[2], second[2], "below the same root");
    assert!(seconds(&third[0]).1 <= seconds(&third[1]).1);
}

#[tokio::test]
async fn only_a_device_with_an_issued_certificate_can_be_revoked() {
    let (dps, device) = dps().await;
    let issuance = dps.emulator.issuance();
    for id in ["dev-1", "not a valid id"] {
        let error = issuance.revoke(id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeviceNotFound, "{error}");
    }
    device.assigned().await;
    let error = issuance.expire("dev-1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    device.provision_with(Csr::new("dev-1").body()).await;
    issuance.revoke("DEV-1").await.unwrap();
    issuance.expire("dev-1").await.unwrap();
    assert_eq!(issuance.root_pem("contoso", "other"), None);
}

/// `openssl req -new -newkey rsa:2048 -nodes -subj /CN=dev-1 -outform DER | base64 -w0`
const RSA: &str = "MIICVTCCAT0CAQAwEDEOMAwGA1UEAwwFZGV2LTEwggEiMA0GCSqGSIb3DQEBAQUAA4IBDwAwggEKAoIBAQChuydwlWtbMr5PqgDdu9F2oBZelpMlO3F2YY8KSeVNQ4QGqJ68qO5wuR6mXvLaAxyepeVaHjtFVB4aZz3XFtrC5gEscygHGwhs2ZxfEszZjAz1Tpsj3KWskmX5XzzbMn8iYZ6UQC5pjmmLdKqKLiabiFPOKu/d7MYVOzpbssQjqjZGnmUGXIuCbmCDT5LdLx9UyKVjaek8c6sY5k5edMKfpbNonHgdfe6PhP9QyTNKgQAEoYpViABq1fZSr0X4UQSIqR98m20YNUHWxct5t8hqiTDJBPMjHaDFhwd+LmxN3fBJKSoMuVE6OKD5hJORbsAcRqF1TruI+sChAzknd4NnAgMBAAGgADANBgkqhkiG9w0BAQsFAAOCAQEAnzCQbG95+oqfjW0zM3xh2WOlufew6fd6MJg4NA9NXs+rjprv6rluXgFRzxLBPVnb/wPIgvzDnnMOOj0KqI6bXxygKklTR4Cb1ns1OX7/ULgOwpkuTQQ7pLrIyWsSlj72xP7+6s8u+pcCo3wb7NDt3W7qc4hEVGqcbLwAVJQrE3j6jREyaSbqh6zoV8wlFsuliw6yy8tKL1gWmnF+knVtZxUruTHPt3phURZ2Xm5U5O1BPWHnOmaaWwRfc1mY3UjV5p1FA6w5/+KSym0tn2KlFIqmVcarENVPi8X/UfDge43fpQYklPe+HevHG4VaWqRdlbdS64EKjpBbfVd7zQWP3g==";
