//! Instances, their shared access policies, and CA certificates by name.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::json_text::{any_object, string, value};
use super::{for_each_store, is_accepted, put_text};
use crate::common::{Answer, Dps, percent};

const GROUP: &str =
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices";

fn request(dps: &Dps, method: &str, below: &str) -> reqwest::RequestBuilder {
    dps.service_at("2022-12-12", method, &format!("{GROUP}{below}"))
}

async fn read(dps: &Dps, below: &str) -> Answer {
    Answer::to(request(dps, "GET", below)).await
}

#[test]
fn an_instance_that_is_accepted_can_be_read_listed_written_back_and_deleted() {
    let policy = string().prop_map(|name| {
        format!("\"authorizationPolicies\":[{{\"keyName\":{name},\"rights\":\"EnrollmentRead, RegistrationStatusRead\"}}]")
    });
    let member = prop_oneof![
        policy,
        (string(), value()).prop_map(|(name, it)| format!("{name}:{it}")),
    ];
    let tags = (string(), string()).prop_map(|(name, it)| format!("{{{name}:{it}}}"));
    let sku = prop_oneof![Just("{\"name\":\"S1\"}".to_owned()), value()];
    let name = "[a-zA-Z][a-zA-Z0-9-]{1,20}[a-zA-Z0-9]";
    for_each_store(
        (name, member, tags, sku, string()),
        async |dps, (name, member, tags, sku, location)| {
            let path = format!("/{name}");
            let text = format!(
                "{{\"location\":{location},\"tags\":{tags},\"sku\":{sku},\"properties\":{{{member}}}}}"
            );
            let answer = put_text(request(dps, "PUT", &path), text).await;
            if !is_accepted(&answer) {
                assert_eq!(read(dps, &path).await.status, 404);
                return false;
            }
            let shown = read(dps, &path).await.json();
            assert_eq!(shown, answer.json());
            let list = read(dps, "").await.json();
            assert_eq!(list["value"], json!([shown]));
            let keys = Answer::to(request(dps, "POST", &format!("{path}/listkeys")))
                .await
                .json();
            for policy in keys["value"].as_array().expect("a list") {
                let key_name = policy["keyName"].as_str().expect("a name");
                let key = request(
                    dps,
                    "POST",
                    &format!("{path}/keys/{}/listkeys", percent(key_name)),
                );
                assert_eq!(Answer::to(key).await.json(), *policy);
            }
            let back = put_text(request(dps, "PUT", &path), shown.to_string()).await;
            assert_eq!(back.status, 200, "{back:?}");
            let after = Answer::to(request(dps, "POST", &format!("{path}/listkeys")))
                .await
                .json();
            assert_eq!(after, keys);
            let deleted = Answer::to(request(dps, "DELETE", &path)).await;
            assert_eq!(deleted.status, 200, "{deleted:?}");
            assert_eq!(read(dps, &path).await.status, 404);
            true
        },
    );
}

#[test]
fn a_ca_certificate_that_is_accepted_can_be_read_listed_and_deleted() {
    let authority = dps_emulator::CertificateAuthority::new("Root").expect("a CA");
    let name = prop_oneof![
        "[a-zA-Z0-9._-]{1,60}".boxed(),
        any::<String>().boxed(),
        "[a-z/%. ]{1,8}".boxed(),
    ];
    for_each_store((name, any_object()), async |dps, (name, extra)| {
        // A client resolves these before it sends a request.
        if name.is_empty() || name == "." || name == ".." {
            return false;
        }
        let path = format!("/dps-emulator/certificates/{}", percent(&name));
        let pem = json!(authority.certificate_pem());
        let text = format!("{{\"properties\":{{\"certificate\":{pem},\"later\":{extra}}}}}");
        let answer = put_text(request(dps, "PUT", &path), text).await;
        if !is_accepted(&answer) {
            assert!(read(dps, &path).await.status >= 400);
            return false;
        }
        let shown = read(dps, &path).await.json();
        assert_eq!(shown["name"], json!(name));
        let list: Value = read(dps, "/dps-emulator/certificates").await.json();
        assert_eq!(list["value"].as_array().map(Vec::len), Some(1), "{list}");
        assert_eq!(list["value"][0]["name"], json!(name));
        let deleted = request(dps, "DELETE", &path).header("If-Match", "*");
        let deleted = Answer::to(deleted).await;
        assert!(deleted.status < 300, "{deleted:?}");
        assert_eq!(read(dps, &path).await.status, 404);
        true
    });
}
