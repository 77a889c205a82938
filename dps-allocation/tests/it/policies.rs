//! The ready-made policies, alone and composed.

use std::sync::Arc;

use dps_allocation::policies::{ByCertificate, ByPayload, Fallback};
use dps_allocation::{
    Allocation, AllocationPolicy, ErrorKind, Rejection, RejectionKind, from_async_fn, from_fn,
};
use dps_types::{AllocationRequest, ErrorCode};
use rcgen::{CertificateParams, CustomExtension, DnType, Issuer, KeyPair, SanType};
use serde_json::{Value, json};

use crate::common::{HUB_A, HUB_B, ask, request, request_with, to};

fn declines(reason: &'static str) -> impl AllocationPolicy {
    from_fn(move |_| Err(Rejection::new(reason)))
}

async fn ask_with_payload(policy: &dyn AllocationPolicy, payload: Value) -> Result<String, String> {
    let context = json!({ "payload": payload });
    ask(policy, &request_with("dev-1", &[HUB_A, HUB_B], context)).await
}

#[tokio::test]
async fn a_closure_is_a_policy() {
    let request = request("dev-1", &[HUB_A]);
    let own = HUB_A.to_owned();
    let sync = from_fn(
        move |request| match request.linked_hubs[0].as_str() == own {
            true => Ok(Allocation::to(request.linked_hubs[0].clone())),
            false => Err(Rejection::new("no")),
        },
    );
    assert_eq!(ask(&sync, &request).await.unwrap(), HUB_A);

    let later = from_async_fn(|request: AllocationRequest| async move {
        tokio::task::yield_now().await;
        Ok(Allocation::to(request.linked_hubs[0].clone()))
    });
    assert_eq!(ask(&later, &request).await.unwrap(), HUB_A);
}

#[tokio::test]
async fn a_pointer_to_a_policy_is_a_policy() {
    let request = request("dev-1", &[HUB_A]);
    let shared: Arc<dyn AllocationPolicy> = Arc::new(to(HUB_A));
    let boxed: Box<dyn AllocationPolicy> = Box::new(Arc::clone(&shared));
    let nested = Fallback::new(shared.clone()).or(boxed);
    assert_eq!(ask(&nested, &request).await.unwrap(), HUB_A);
    assert_eq!(ask(&&shared, &request).await.unwrap(), HUB_A);
}

#[tokio::test]
async fn a_field_of_the_payload_chooses_the_policy() {
    let policy = ByPayload::field("model")
        .when("toaster", to(HUB_A))
        .when("heatpump", to(HUB_B))
        .when(3, to(HUB_A))
        .when(1.5, to(HUB_B))
        .when(true, to(HUB_B))
        .when("toaster", to(HUB_B));
    for (model, hub) in [
        (json!("toaster"), HUB_A),
        (json!("heatpump"), HUB_B),
        (json!(3), HUB_A),
        (json!("3"), HUB_A),
        (json!(1.5), HUB_B),
        (json!(true), HUB_B),
    ] {
        let payload = json!({ "model": model });
        assert_eq!(
            ask_with_payload(&policy, payload).await.unwrap(),
            hub,
            "{model}"
        );
    }
}

#[tokio::test]
async fn a_payload_without_a_policy_is_rejected_with_the_reason() {
    let policy = ByPayload::field("model").when("toaster", to(HUB_A));
    for (payload, reason) in [
        (
            json!({ "model": "Toaster" }),
            r#"no policy for model ["Toaster"]"#,
        ),
        (
            json!({ "model": "kettle" }),
            r#"no policy for model ["kettle"]"#,
        ),
        (json!({ "Model": "toaster" }), r#"payload has no "model""#),
        (json!({ "model": null }), r#"payload has no "model""#),
        (json!("toaster"), r#"payload has no "model""#),
        (
            json!({ "model": ["toaster"] }),
            "is not a string, a number or a boolean",
        ),
        (
            json!({ "model": {} }),
            "is not a string, a number or a boolean",
        ),
        (Value::Null, r#"no payload, so it has no "model""#),
    ] {
        let rejected = ask_with_payload(&policy, payload.clone())
            .await
            .unwrap_err();
        assert!(rejected.contains(reason), "{payload}: {rejected}");
    }
}

#[tokio::test]
async fn otherwise_is_for_other_values_but_not_for_missing_ones() {
    let policy = ByPayload::field("model")
        .when("toaster", to(HUB_A))
        .otherwise(to(HUB_B));
    let kettle = ask_with_payload(&policy, json!({ "model": "kettle" })).await;
    assert_eq!(kettle.unwrap(), HUB_B);
    assert!(ask_with_payload(&policy, json!({})).await.is_err());

    let all = Fallback::new(policy).or(to(HUB_A));
    assert_eq!(ask_with_payload(&all, json!({})).await.unwrap(), HUB_A);
}

#[tokio::test]
async fn a_json_pointer_reads_nested_fields() {
    let policy = ByPayload::field("/devices/0/a~1b").when("x", to(HUB_A));
    let payload = json!({ "devices": [{ "a/b": "x" }] });
    assert_eq!(ask_with_payload(&policy, payload).await.unwrap(), HUB_A);
    // Without a leading slash it is the name of a field.
    let policy = ByPayload::field("a/b").when("x", to(HUB_A));
    let payload = json!({ "a/b": "x" });
    assert_eq!(ask_with_payload(&policy, payload).await.unwrap(), HUB_A);
}

/// A leaf for `dev-1` of Contoso, issued by `Contoso CA`: DER and PEM.
fn certificate() -> (Vec<u8>, String) {
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "Contoso CA");
    let ca_key = KeyPair::generate().unwrap();
    ca.distinguished_name
        .push(DnType::OrganizationName, "Contoso");
    let issuer = Issuer::new(ca, ca_key);

    let names = [
        "Toaster.Contoso.com".to_owned(),
        "10.0.0.1".to_owned(),
        "2001:db8::1".to_owned(),
    ];
    let mut leaf = CertificateParams::new(names).unwrap();
    let uri = "urn:contoso:toaster".try_into().unwrap();
    leaf.subject_alt_names.push(SanType::URI(uri));
    let email = "Toaster@Contoso.com".try_into().unwrap();
    leaf.subject_alt_names.push(SanType::Rfc822Name(email));
    // UTF8String "oven", and an OCTET STRING of two bytes.
    leaf.custom_extensions = vec![
        CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], b"\x0c\x04oven".to_vec()),
        CustomExtension::from_oid_content(
            &[1, 3, 6, 1, 4, 1, 99999, 2],
            b"\x04\x02\xab\xcd".to_vec(),
        ),
    ];
    let name = &mut leaf.distinguished_name;
    name.push(DnType::CommonName, "dev-1");
    name.push(DnType::OrganizationName, "Contoso Töaster");
    name.push(DnType::OrganizationalUnitName, "kitchen");
    let key = KeyPair::generate().unwrap();
    let certificate = leaf.signed_by(&key, &issuer).unwrap();
    (certificate.der().to_vec(), certificate.pem())
}

fn base64(der: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(der)
}

fn with_certificate(text: &str) -> AllocationRequest {
    let context = json!({ "x509": { "clientCertificate": text } });
    request_with("dev-1", &[HUB_A, HUB_B], context)
}

#[tokio::test]
async fn a_property_of_the_certificate_chooses_the_policy() {
    let (der, pem) = certificate();
    for (policy, value) in [
        (ByCertificate::subject_common_name(), "dev-1"),
        (ByCertificate::subject_organization(), "Contoso Töaster"),
        (ByCertificate::subject_organizational_unit(), "kitchen"),
        (ByCertificate::issuer_common_name(), "Contoso CA"),
        (ByCertificate::issuer_organization(), "Contoso"),
        (ByCertificate::dns_name(), "toaster.contoso.COM"),
        (ByCertificate::uri(), "urn:contoso:toaster"),
        (ByCertificate::ip_address(), "10.0.0.1"),
        (ByCertificate::ip_address(), "2001:DB8:0:0::1"),
        (ByCertificate::email(), "Toaster@contoso.COM"),
        (extension("1.3.6.1.4.1.99999.1"), "oven"),
        (extension("1.3.6.1.4.1.99999.2"), "0402abcd"),
    ] {
        let policy = policy.when("other", to(HUB_B)).when(value, to(HUB_A));
        for text in [&base64(&der), &pem, &format!("\r\n{pem}\r\n")] {
            let request = with_certificate(text);
            assert_eq!(ask(&policy, &request).await.unwrap(), HUB_A, "{text}");
        }
    }
}

fn extension(oid: &str) -> ByCertificate {
    ByCertificate::extension(oid).unwrap()
}

#[test]
fn an_extension_is_named_by_its_oid() {
    for bad in ["", "subjectAltName", "9.9.9", "1..2"] {
        let error = ByCertificate::extension(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidPattern, "{bad}");
    }
}

#[tokio::test]
async fn a_certificate_without_a_policy_is_rejected_with_the_reason() {
    let (der, _) = certificate();
    let policy = ByCertificate::subject_organization().when("contoso töaster", to(HUB_A));
    let rejected = ask(&policy, &with_certificate(&base64(&der)))
        .await
        .unwrap_err();
    assert!(
        rejected.contains(r#"no policy for subject organization ["Contoso Töaster"]"#),
        "{rejected}"
    );
    let policy = policy.otherwise(to(HUB_B));
    let taken = ask(&policy, &with_certificate(&base64(&der))).await;
    assert_eq!(taken.unwrap(), HUB_B);

    let bare = CertificateParams::default().self_signed(&KeyPair::generate().unwrap());
    let bare = with_certificate(&base64(bare.unwrap().der()));
    let rejected = ask(&policy, &bare).await.unwrap_err();
    assert_eq!(
        rejected,
        "the device's certificate has no subject organization"
    );
    let policy = ByCertificate::dns_name().otherwise(to(HUB_B));
    let rejected = ask(&policy, &bare).await.unwrap_err();
    assert_eq!(rejected, "the device's certificate has no DNS name");
    let policy = extension("1.2.3").otherwise(to(HUB_B));
    let rejected = ask(&policy, &bare).await.unwrap_err();
    assert_eq!(rejected, "the device's certificate has no extension 1.2.3");
}

#[tokio::test]
async fn a_device_without_a_valid_certificate_is_rejected() {
    let policy = ByCertificate::dns_name().otherwise(to(HUB_B));
    let rejected = ask(&policy, &request("dev-1", &[HUB_A])).await.unwrap_err();
    assert_eq!(
        rejected,
        "the device did not authenticate with a certificate"
    );

    let (der, pem) = certificate();
    for text in [
        "",
        "!",
        "AAAA",
        &base64(&der[..der.len() / 2]),
        &pem[..pem.len() / 2],
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN",
    ] {
        let rejected = ask(&policy, &with_certificate(text)).await.unwrap_err();
        assert_eq!(rejected, "the device's certificate is not valid", "{text}");
    }
}

#[tokio::test]
async fn the_first_policy_that_chooses_a_linked_hub_decides() {
    let request = request("dev-1", &[HUB_A, HUB_B]);
    let policy = Fallback::new(declines("one")).or(to(HUB_B)).or(to(HUB_A));
    assert_eq!(ask(&policy, &request).await.unwrap(), HUB_B);
    // The next policy is called if the hub is not linked.
    let policy = Fallback::new(to("gone.azure-devices.net")).or(to(HUB_A));
    assert_eq!(ask(&policy, &request).await.unwrap(), HUB_A);
}

/// Calls a fallback from a policy that rejects in this way to one that chooses a hub.
async fn fall_back(rejection: fn() -> Rejection, on_any: bool) -> Result<String, String> {
    let mut policy = Fallback::new(from_fn(move |_| Err(rejection()))).or(to(HUB_B));
    if on_any {
        policy = policy.on_any_rejection();
    }
    ask(&policy, &request("dev-1", &[HUB_B])).await
}

#[tokio::test]
async fn a_fallback_stops_at_a_policy_that_is_unavailable() {
    let declined: [fn() -> Rejection; 3] = [
        || Rejection::new("not in the database"),
        || Rejection::new("not in the database").with_status(503),
        || Rejection::new("no model").with_source(std::io::Error::other("not JSON")),
    ];
    for rejection in declined {
        assert_eq!(fall_back(rejection, false).await.unwrap(), HUB_B);
    }
    let unavailable: [fn() -> Rejection; 2] = [
        || Rejection::unavailable("the database is not reachable"),
        || Rejection::unavailable("the database is not reachable").with_status(400),
    ];
    for rejection in unavailable {
        let reason = fall_back(rejection, false).await.unwrap_err();
        assert_eq!(reason, "the database is not reachable");
        assert_eq!(fall_back(rejection, true).await.unwrap(), HUB_B);
    }
}

#[tokio::test]
async fn no_policy_is_called_after_one_that_is_unavailable() {
    let policy = Fallback::new(declines("one"))
        .or(from_fn(|_| Err(Rejection::unavailable("two"))))
        .or(to(HUB_A));
    let rejection = policy
        .allocate(&request("dev-1", &[HUB_A]))
        .await
        .unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::Unavailable);
    assert_eq!((rejection.status(), rejection.message()), (503, "one; two"));
}

#[tokio::test]
async fn a_payload_in_a_string_is_read_as_json() {
    let policy = ByPayload::field("/device/model").when("toaster", to(HUB_A));
    let java = json!(r#"{"device":{"model":"toaster"}}"#);
    assert_eq!(ask_with_payload(&policy, java).await.unwrap(), HUB_A);
}

#[tokio::test]
async fn the_rejection_of_all_policies_has_all_reasons() {
    let last = from_fn(|_| {
        Err(Rejection::new("three")
            .with_status(503)
            .with_error_code(ErrorCode::HUB_NOT_SPECIFIED))
    });
    let policy = Fallback::new(declines("one")).or(to("gone")).or(last);
    let rejection = policy
        .allocate(&request("dev-1", &[HUB_A]))
        .await
        .unwrap_err();
    assert_eq!(rejection.message(), "one; gone is not a linked hub; three");
    assert_eq!(rejection.status(), 503);
    assert_eq!(rejection.error_code(), Some(ErrorCode::HUB_NOT_SPECIFIED));
}
