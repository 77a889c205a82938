//! MQTT at a hub: user names and client ids that disagree, and certificates of others.

use dps_emulator::{CertificateAuthority, DeviceCredentials};
use serde_json::json;

use crate::common::{
    ACCEPTED, Client, Connect, Dps, FOREVER, KEY_1, KEY_2, KEY_3, Sas, Transport,
    certificate_enrollment, certificate_group, hub_token, key_enrollment,
};

const HUB: &str = "127.0.0.1";
const VERSION: &str = "?api-version=2021-04-12";

/// The client id and the user name without parameters, of an attacker who has a valid token of `dev-2`.
const CONNECTS: [(&str, &str, &str); 22] = [
    ("another client id", "dev-1", "127.0.0.1/dev-2/"),
    ("another user name", "dev-2", "127.0.0.1/dev-1/"),
    ("both of the target", "dev-1", "127.0.0.1/dev-1/"),
    ("the target in another case", "DEV-1", "127.0.0.1/DEV-1/"),
    ("its own id in another case", "DEV-2", "127.0.0.1/DEV-2/"),
    ("a client id in another case", "DEV-2", "127.0.0.1/dev-2/"),
    ("an empty client id", "", "127.0.0.1/dev-2/"),
    ("a space after the client id", "dev-2 ", "127.0.0.1/dev-2/"),
    ("an encoded client id", "dev%2D1", "127.0.0.1/dev%2D1/"),
    ("a module of the target", "dev-1/m", "127.0.0.1/dev-1/m/"),
    ("its own module", "dev-2/m", "127.0.0.1/dev-2/m/"),
    (
        "the target as a module",
        "dev-2/dev-1",
        "127.0.0.1/dev-2/dev-1/",
    ),
    (
        "a module in the client id only",
        "dev-2/m",
        "127.0.0.1/dev-2/",
    ),
    (
        "a module in the user name only",
        "dev-2",
        "127.0.0.1/dev-2/m/",
    ),
    ("another hub", "dev-2", "hub-b/dev-2/"),
    ("an unknown hub", "dev-2", "hub-c/dev-2/"),
    ("no hub", "dev-2", "/dev-2/"),
    ("a port", "dev-2", "127.0.0.1:8883/dev-2/"),
    ("a URL", "dev-2", "mqtts://127.0.0.1/dev-2/"),
    ("two slashes", "dev-2", "127.0.0.1//dev-2/"),
    ("a path up", "dev-1", "127.0.0.1/dev-2/../dev-1/"),
    ("a path", "dev-2", "127.0.0.1/devices/dev-2/"),
];

/// Parameters of a user name that no reader may choose from.
const PARAMETERS: [(&str, &str); 7] = [
    ("no api-version", "?DeviceClientType=a"),
    ("an unknown api-version", "?api-version=latest"),
    (
        "two api-versions",
        "?api-version=2021-04-12&api-version=2025-08-01-preview",
    ),
    (
        "one api-version twice",
        "?api-version=2021-04-12&api-version=2021-04-12",
    ),
    (
        "two api-versions, one encoded",
        "?api-version=2021-04-12&api%2Dversion=2018-06-30",
    ),
    (
        "two models",
        "?api-version=2021-04-12&model-id=dtmi:a:b;1&model-id=dtmi:c:d;1",
    ),
    (
        "two client types",
        "?api-version=2021-04-12&DeviceClientType=a&DeviceClientType=b",
    ),
];

async fn connects<C: Transport>(mut client: Client<C>, connect: &Connect) -> bool {
    client.send(&connect.bytes()).await;
    client.transport_answer().await.as_deref() == Some(ACCEPTED)
}

async fn with_two_devices() -> Dps {
    let dps = Dps::start().await;
    for (id, key) in [("dev-1", KEY_1), ("dev-2", KEY_3)] {
        let document = key_enrollment(id, key, KEY_2);
        dps.create(&format!("/enrollments/{id}"), &document).await;
        dps.device(id).key(key).assigned().await;
    }
    dps
}

#[tokio::test]
async fn no_ambiguous_connect_is_accepted() {
    let dps = with_two_devices().await;
    let token = hub_token(HUB, "dev-2", KEY_3, FOREVER);
    let named = CONNECTS.map(|(name, id, user)| (name, id, format!("{user}{VERSION}")));
    let parameters =
        PARAMETERS.map(|(name, text)| (name, "dev-2", format!("127.0.0.1/dev-2/{text}")));
    for (name, client_id, username) in named.into_iter().chain(parameters) {
        for password in [
            token.clone(),
            hub_token(HUB, "dev-1", KEY_3, FOREVER),
            Sas::at_hub("127.0.0.1/devices/dev-2/modules/m").sign(KEY_3),
        ] {
            let connect = Connect::of(client_id)
                .username(&username)
                .password(&password);
            for accepted in [
                connects(dps.mqtt().await, &connect).await,
                connects(dps.websocket().await, &connect).await,
            ] {
                assert!(!accepted, "{name}: {client_id} {username} {password}");
            }
        }
    }
    let connect = Connect::of("dev-2").username(&format!("127.0.0.1/dev-2/{VERSION}"));
    let connect = connect.password(&token);
    assert!(connects(dps.mqtt().await, &connect).await);
    assert!(connects(dps.websocket().await, &connect).await);
}

#[tokio::test]
async fn no_other_certificate_connects_a_device() {
    let dps = with_two_devices().await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let enrolled = root.issue("dev-3").expect("a certificate");
    let document = certificate_enrollment("dev-3", enrolled.certificate_pem());
    dps.create("/enrollments/dev-3", &document).await;
    let group = certificate_group("g", root.certificate_pem());
    dps.create("/enrollmentGroups/g", &group).await;
    let member = root.issue("dev-4").expect("a certificate");
    for (id, credentials) in [("dev-3", &enrolled), ("dev-4", &member)] {
        dps.device(id).certificate(credentials).assigned().await;
    }
    let issue = |id: &str| root.issue(id).expect("a certificate");
    let own = |id: &str| DeviceCredentials::self_signed(id).expect("a certificate");
    let (third, fourth) = (
        enrolled.certificate_chain_pem(),
        member.certificate_chain_pem(),
    );
    let other_key = own("x").private_key_pem().to_owned();
    let of = |it: &DeviceCredentials| (it.certificate_chain_pem(), it.private_key_pem().to_owned());
    for (name, id, (chain, key)) in [
        (
            "another certificate of the same CA",
            "dev-3",
            of(&issue("dev-3")),
        ),
        (
            "another certificate of a member",
            "dev-4",
            of(&issue("dev-4")),
        ),
        ("self-signed", "dev-3", of(&own("dev-3"))),
        ("the certificate of another device", "dev-3", of(&member)),
        ("the certificate of the neighbour", "dev-4", of(&enrolled)),
        (
            "the certificate with another key",
            "dev-3",
            (third.clone(), other_key),
        ),
        ("the certificate after another", "dev-3", {
            let first = issue("dev-3");
            let chain = format!("{}{third}", first.certificate_pem());
            (chain, first.private_key_pem().to_owned())
        }),
        (
            "the CA",
            "dev-3",
            (
                root.certificate_pem().to_owned(),
                own("x").private_key_pem().to_owned(),
            ),
        ),
        (
            "a certificate for a device with a key",
            "dev-1",
            of(&issue("dev-1")),
        ),
        (
            "a certificate of an unknown device",
            "dev-9",
            of(&issue("dev-9")),
        ),
        (
            "the id in another case",
            "DEV-3",
            (third.clone(), enrolled.private_key_pem().to_owned()),
        ),
        (
            "a module of the device",
            "dev-3/m",
            (third.clone(), enrolled.private_key_pem().to_owned()),
        ),
        (
            "the CA for a member",
            "dev-4",
            (fourth.clone(), own("x").private_key_pem().to_owned()),
        ),
    ] {
        let connect = Connect::of(id).username(&format!("{HUB}/{id}/{VERSION}"));
        for accepted in [
            presents(&dps, false, &chain, &key, &connect).await,
            presents(&dps, true, &chain, &key, &connect).await,
        ] {
            assert!(!accepted, "{name}");
        }
        // With a token of another device, the token counts.
        let with_token = connect.password(&hub_token(HUB, "dev-1", KEY_1, FOREVER));
        if id != "dev-1" {
            assert!(
                !presents(&dps, false, &chain, &key, &with_token).await,
                "{name}"
            );
        }
    }
    for (id, shown) in [("dev-3", &enrolled), ("dev-4", &member)] {
        let (chain, key) = of(shown);
        let connect = Connect::to_hub(HUB, id);
        assert!(presents(&dps, false, &chain, &key, &connect).await, "{id}");
        assert!(presents(&dps, true, &chain, &key, &connect).await, "{id}");
    }
    let disabled = json!({ "deviceId": "dev-3", "status": "disabled", "authentication": {
        "type": "selfSigned", "x509Thumbprint": { "primaryThumbprint": thumbprint(&enrolled) } } });
    let api = dps.hub_api(HUB);
    let request = api.request("PUT", "/devices/dev-3").header("If-Match", "*");
    let answer = crate::common::Answer::to(request.json(&disabled)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (chain, key) = of(&enrolled);
    let connect = Connect::to_hub(HUB, "dev-3");
    assert!(
        !presents(&dps, false, &chain, &key, &connect).await,
        "disabled"
    );
}

/// Connects with this chain. The emulator may refuse it in the handshake.
async fn presents(
    dps: &Dps,
    over_websocket: bool,
    chain: &str,
    key: &str,
    connect: &Connect,
) -> bool {
    let port = match over_websocket {
        true => dps.port,
        false => dps.emulator.mqtt_port(),
    };
    let tls = crate::common::tls(dps.emulator.ca_pem(), Some((chain, key)));
    let Ok(stream) = crate::common::connect(port, tls).await else {
        return false;
    };
    match over_websocket {
        false => connects(Client::over(stream), connect).await,
        true => {
            let socket = dps_websocket::WebSocketIo::connect(
                stream,
                "localhost",
                "/$iothub/websocket",
                "mqtt",
                64 * 1024,
            );
            match socket.await {
                Ok(socket) => connects(Client::over(socket), connect).await,
                Err(_) => false,
            }
        }
    }
}

/// SHA-256 of the DER.
fn thumbprint(credentials: &DeviceCredentials) -> String {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    use sha2::{Digest, Sha256};
    let der = CertificateDer::from_pem_slice(credentials.certificate_pem().as_bytes());
    let digest = Sha256::digest(der.expect("PEM"));
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}
