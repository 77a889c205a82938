//! AMQP: links of a client with a certificate, and requests, that are about another device.

use dps_emulator::DeviceCredentials;
use serde_json::json;

use super::amqp_links::{Login, OWN, TARGET, is_answered, request, streams, with_two_devices};
use super::is_registered;
use crate::common::{KEY_1, KEY_3, certificate_enrollment, token};

#[tokio::test]
async fn no_certificate_opens_the_link_of_another_device() {
    let dps = with_two_devices().await;
    let own = DeviceCredentials::self_signed("dev-3").expect("a certificate");
    let document = certificate_enrollment("dev-3", own.certificate_pem());
    dps.create("/enrollments/dev-3", &document).await;
    let identity = Some((own.certificate_pem(), own.private_key_pem()));
    let address = "0ne00000001/registrations/dev-3";
    let version = &["2019-03-31"][..];
    let stolen = token("dev-1", KEY_3);
    let request = |id: &str| request("iotdps-register", None, &json!({ "registrationId": id }));
    for (name, login, address, id) in [
        ("the link of the target", Login::None, TARGET, "dev-1"),
        (
            "the link of the target after EXTERNAL",
            Login::External,
            TARGET,
            "dev-1",
        ),
        ("the target in the body", Login::None, address, "dev-1"),
        (
            "the target in the body after EXTERNAL",
            Login::External,
            address,
            "dev-1",
        ),
        // A token takes precedence over the certificate.
        (
            "a false token",
            Login::Plain(TARGET, &stolen),
            TARGET,
            "dev-1",
        ),
        (
            "a false token at its own link",
            Login::Plain(address, &stolen),
            address,
            "dev-3",
        ),
    ] {
        for stream in streams(&dps, identity).await {
            let answered = is_answered(stream, login, address, version, &request(id)).await;
            assert!(!answered, "{name}");
        }
    }
    assert!(!is_registered(&dps).await);
    for login in [Login::None, Login::External] {
        for stream in streams(&dps, identity).await {
            assert!(is_answered(stream, login, address, version, &request("dev-3")).await);
        }
    }
}

#[tokio::test]
async fn no_request_is_about_another_registration() {
    let dps = with_two_devices().await;
    let target = dps.device("dev-1").key(KEY_1).register().await.json()["operationId"].clone();
    let target = target.as_str().expect("an operation id");
    let token = token("dev-2", KEY_3);
    let login = Login::Plain(OWN, &token);
    let version = &["2019-03-31"][..];
    let (register, status) = ("iotdps-register", "iotdps-get-operationstatus");
    let (empty, of_target) = (json!({}), json!({ "registrationId": "dev-1" }));
    for (name, request) in [
        (
            "the operation of the target",
            request(status, Some(target), &empty),
        ),
        ("no operation", request(status, None, &empty)),
        (
            "the target in the body",
            request(register, None, &of_target),
        ),
        (
            "the target in the body of a poll",
            request(status, Some(target), &of_target),
        ),
        (
            "an unknown operation type",
            request("iotdps-delete", None, &empty),
        ),
        (
            "the operation type in another case",
            request("IOTDPS-REGISTER", None, &empty),
        ),
        ("no operation type", request("", None, &empty)),
    ] {
        for stream in streams(&dps, None).await {
            let answered = is_answered(stream, login, OWN, version, &request).await;
            assert!(!answered, "{name}");
        }
    }
    assert_eq!(dps.get("/registrations/dev-2").await.status, 404);
    for stream in streams(&dps, None).await {
        let request = request(register, None, &empty);
        assert!(is_answered(stream, login, OWN, version, &request).await);
    }
}
