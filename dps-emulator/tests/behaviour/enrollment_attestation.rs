//! Attestations as real clients send them: one certificate, empty keys, and certificates in various formats.

use dps_emulator::{CertificateAuthority, DeviceCredentials};
use serde_json::{Value, json};

use crate::common::{
    Dps, KEY_1, KEY_2, KEY_3, certificate_enrollment, certificate_group, key_enrollment, key_group,
    with,
};

fn x509(kind: &str, pair: Value) -> Value {
    json!({ "attestation": { "type": "x509", "x509": { kind: pair } } })
}

fn keys(fields: Value) -> Value {
    json!({ "attestation": { "type": "symmetricKey", "symmetricKey": fields } })
}

fn certificate(pem: &str) -> Value {
    json!({ "certificate": pem })
}

#[tokio::test]
async fn the_primary_certificate_can_be_removed_at_the_end_of_a_roll_over() {
    let dps = Dps::start().await;
    let [old, new] =
        [(), ()].map(|()| DeviceCredentials::self_signed("d1").expect("a certificate"));
    let both = json!({
        "primary": certificate(old.certificate_pem()),
        "secondary": certificate(new.certificate_pem()),
    });
    let document = |pair: &Value| {
        with(
            json!({ "registrationId": "d1" }),
            x509("clientCertificates", pair.clone()),
        )
    };
    dps.create("/enrollments/d1", &document(&both)).await;
    let read = dps.get("/enrollments/d1").await.json();
    let secondary_info =
        read["attestation"]["x509"]["clientCertificates"]["secondary"]["info"].clone();
    for pair in [
        json!({ "primary": null, "secondary": certificate(new.certificate_pem()) }),
        json!({ "secondary": certificate(new.certificate_pem()) }),
        json!({ "primary": null, "secondary": { "info": secondary_info } }),
        json!({ "secondary": { "info": secondary_info, "certificate": null } }),
        json!({ "secondary": { "info": secondary_info, "certificate": "" } }),
    ] {
        dps.put_if("/enrollments/d1", "*", &document(&both)).await;
        let answer = dps.put_if("/enrollments/d1", "*", &document(&pair)).await;
        assert_eq!(answer.status, 200, "{pair}: {answer:?}");
        let shown = &answer.json()["attestation"]["x509"]["clientCertificates"];
        assert_eq!(shown["primary"], Value::Null, "{pair}");
        assert_eq!(shown["secondary"]["info"], secondary_info, "{pair}");
        dps.device("d1").certificate(&new).assigned().await;
        let refused = dps.device("d1").certificate(&old).register().await;
        assert_eq!(refused.status, 401, "{pair}");
    }
    for pair in [
        json!({}),
        json!({ "primary": null, "secondary": null }),
        json!({ "primary": null }),
    ] {
        dps.put_if("/enrollments/d1", "*", &document(&pair))
            .await
            .assert_error(
                400_004,
                "A primary or secondary client certificate is required.",
            );
    }
}

#[tokio::test]
async fn a_group_can_have_a_secondary_signing_certificate_alone() {
    let dps = Dps::start().await;
    let [old, new] = ["Old", "New"].map(|name| CertificateAuthority::new(name).expect("a CA"));
    dps.create(
        "/enrollmentGroups/g",
        &certificate_group("g", old.certificate_pem()),
    )
    .await;
    let alone = json!({ "secondary": certificate(new.certificate_pem()) });
    let group = with(
        json!({ "enrollmentGroupId": "g" }),
        x509("signingCertificates", alone),
    );
    let answer = dps.put_if("/enrollmentGroups/g", "*", &group).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let device = new.issue("d1").expect("a certificate");
    dps.device("d1").certificate(&device).assigned().await;
    let device = old.issue("d2").expect("a certificate");
    assert_eq!(
        dps.device("d2")
            .certificate(&device)
            .register()
            .await
            .status,
        401
    );
    let other = certificate_group("other", new.certificate_pem());
    let refused = dps.put("/enrollmentGroups/other", &other).await;
    assert_eq!(refused.status, 400, "the certificate stays unique");
    let free = certificate_group("other", old.certificate_pem());
    dps.create("/enrollmentGroups/other", &free).await;
}

#[tokio::test]
async fn a_certificate_error_names_the_certificate_and_has_one_full_stop() {
    let dps = Dps::start().await;
    let good = DeviceCredentials::self_signed("d1").expect("a certificate");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (pair, name) in [
        (
            json!({ "primary": certificate("no certificate") }),
            "primary",
        ),
        (json!({ "primary": certificate(broken) }), "primary"),
        (
            json!({
                "primary": certificate(good.certificate_pem()),
                "secondary": certificate("no certificate"),
            }),
            "secondary",
        ),
        (json!({ "secondary": certificate(broken) }), "secondary"),
    ] {
        let document = with(
            json!({ "registrationId": "d1" }),
            x509("clientCertificates", pair),
        );
        let answer = dps.put("/enrollments/d1", &document).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let message = answer.json()["message"].as_str().expect("text").to_owned();
        let start = format!("The {name} client certificate cannot be read: ");
        assert!(message.starts_with(&start), "{message}");
        assert!(
            message.ends_with('.') && !message.contains(".."),
            "{message}"
        );
    }
}

#[tokio::test]
async fn an_empty_key_is_generated_at_creation() {
    let dps = Dps::start().await;
    for empty in [json!(null), json!(""), json!(" ")] {
        for fields in [
            json!({ "primaryKey": empty, "secondaryKey": empty }),
            json!({ "primaryKey": KEY_1, "secondaryKey": empty }),
            json!({ "primaryKey": empty }),
        ] {
            let document = with(json!({ "registrationId": "d1" }), keys(fields.clone()));
            let created = dps.create("/enrollments/d1", &document).await;
            let stored = &created["attestation"]["symmetricKey"];
            for name in ["primaryKey", "secondaryKey"] {
                let key = stored[name].as_str().expect("a key");
                match fields[name].as_str() {
                    Some(sent) if !sent.trim().is_empty() => assert_eq!(key, sent),
                    _ => assert_eq!(key.len(), 88, "{fields}"),
                }
            }
            let key = stored["secondaryKey"].as_str().expect("a key").to_owned();
            dps.device("d1").key(&key).assigned().await;
            dps.delete("/enrollments/d1").await;
        }
    }
}

#[tokio::test]
async fn an_empty_key_is_kept_at_an_update() {
    let dps = Dps::start().await;
    dps.create("/enrollments/d1", &key_enrollment("d1", KEY_1, KEY_2))
        .await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    for empty in [json!(null), json!(""), json!("\n")] {
        let fields = keys(json!({ "primaryKey": empty, "secondaryKey": empty }));
        for (path, id) in [
            ("/enrollments/d1", json!({ "registrationId": "d1" })),
            ("/enrollmentGroups/g", json!({ "enrollmentGroupId": "g" })),
        ] {
            let answer = dps.put_if(path, "*", &with(id, fields.clone())).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let kept = &answer.json()["attestation"]["symmetricKey"];
            assert_eq!(
                *kept,
                json!({ "primaryKey": KEY_1, "secondaryKey": KEY_2 }),
                "{path} {empty}"
            );
        }
    }
    let one = keys(json!({ "primaryKey": "", "secondaryKey": KEY_3 }));
    let one = with(json!({ "registrationId": "d1" }), one);
    let answer = dps.put_if("/enrollments/d1", "*", &one).await;
    let kept = &answer.json()["attestation"]["symmetricKey"];
    assert_eq!(*kept, json!({ "primaryKey": KEY_1, "secondaryKey": KEY_3 }));
}

#[tokio::test]
async fn an_empty_key_in_a_bulk_operation_is_treated_alike() {
    let dps = Dps::start().await;
    let enrollment = |etag: Value| {
        let empty = keys(json!({ "primaryKey": "", "secondaryKey": "" }));
        with(with(json!({ "registrationId": "d1" }), empty), etag)
    };
    let bulk = async |mode: &str, etag: Value| {
        let body = json!({ "mode": mode, "enrollments": [enrollment(etag)] });
        let answer =
            crate::common::Answer::to(dps.service("POST", "/enrollments").json(&body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["isSuccessful"], true, "{answer:?}");
        dps.attestation("/enrollments/d1").await["symmetricKey"].clone()
    };
    let created = bulk("create", json!({})).await;
    assert_eq!(created["primaryKey"].as_str().expect("a key").len(), 88);
    let etag = dps.get("/enrollments/d1").await.json()["etag"].clone();
    assert_eq!(bulk("update", json!({ "etag": etag })).await, created);
    assert_eq!(
        bulk(
            "updateIfMatchETag",
            json!({ "etag": dps.get("/enrollments/d1").await.json()["etag"] })
        )
        .await,
        created
    );
}

/// As operators copy certificates: indented, without line breaks, as bare base64.
#[tokio::test]
async fn a_certificate_is_read_in_every_harmless_format() {
    let dps = Dps::start().await;
    let device = DeviceCredentials::self_signed("d1").expect("a certificate");
    let pem = device.certificate_pem();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let indented: String = pem.lines().map(|line| format!("    {line}\n")).collect();
    for text in [
        pem.to_owned(),
        indented,
        pem.replace('\n', "\r\n"),
        format!("\u{feff}{pem}"),
        body.clone(),
        format!("Bag Attributes\n    friendlyName: d1\n{pem}"),
    ] {
        dps.create("/enrollments/d1", &certificate_enrollment("d1", &text))
            .await;
        dps.device("d1").certificate(&device).assigned().await;
        dps.delete("/enrollments/d1").await;
    }
}
