//! AMQP: identities of the SASL layer and links that disagree about the device.

use dps_amqp::{
    Answer as AmqpAnswer, Client as AmqpClient, ClientOptions, CorrelationId, Frames, Message,
    Property, sasl,
};
use dps_websocket::WebSocketIo;
use serde_json::{Value, json};

use super::attempt::Stream;
use crate::common::{Dps, KEY_1, KEY_2, KEY_3, Sas, connect, key_enrollment, tls, token};
use crate::instances::{create, enroll};

pub(super) const OWN: &str = "0ne00000001/registrations/dev-2";
pub(super) const TARGET: &str = "0ne00000001/registrations/dev-1";

/// The layer before AMQP.
#[derive(Clone, Copy)]
pub(super) enum Login<'a> {
    Plain(&'a str, &'a str),
    External,
    None,
}

pub(super) async fn streams(dps: &Dps, identity: Option<(&str, &str)>) -> [Box<dyn Stream>; 2] {
    let open = async |port| {
        let stream = connect(port, tls(dps.emulator.ca_pem(), identity)).await;
        stream.expect("TLS")
    };
    let socket = WebSocketIo::connect(
        open(dps.port).await,
        "localhost",
        "/$iothub/websocket",
        "AMQPWSB10",
        64 * 1024,
    );
    let socket = socket.await.expect("a WebSocket");
    [
        Box::new(open(dps.emulator.amqp_port()).await),
        Box::new(socket),
    ]
}

/// Whether the emulator answers the request with a document.
pub(super) async fn is_answered(
    stream: Box<dyn Stream>,
    login: Login<'_>,
    address: &str,
    versions: &[&str],
    request: &Message,
) -> bool {
    let mut frames = Frames::new(stream, 64 * 1024);
    let logged_in = match login {
        Login::Plain(user, password) => sasl::plain(&mut frames, user, password).await,
        Login::External => sasl::external(&mut frames).await,
        Login::None => Ok(()),
    };
    if logged_in.is_err() {
        return false;
    }
    let mut options = ClientOptions::new("forger", "localhost", address);
    for version in versions {
        options = options.with_link_property("com.microsoft:api-version", *version);
    }
    let Ok(mut client) = AmqpClient::open(frames, &options).await else {
        return false;
    };
    matches!(client.request(request).await, Ok(AmqpAnswer::Message(_)))
}

pub(super) fn request(operation: &str, id: Option<&str>, body: &Value) -> Message {
    let mut request = Message::data(body.to_string().into_bytes())
        .with_property("iotdps-operation-type", Property::Text(operation.into()));
    if let Some(id) = id {
        request = request.with_property("iotdps-operation-id", Property::Text(id.into()));
    }
    request.correlation_id = Some(CorrelationId::text("1"));
    request
}

pub(super) async fn with_two_devices() -> Dps {
    let dps = Dps::start().await;
    for (id, key) in [("dev-1", KEY_1), ("dev-2", KEY_3)] {
        let document = key_enrollment(id, key, KEY_2);
        dps.create(&format!("/enrollments/{id}"), &document).await;
    }
    dps
}

#[tokio::test]
async fn no_link_is_for_another_device_than_the_login() {
    let dps = with_two_devices().await;
    let (_, other) = create(&dps, "suite-1").await;
    enroll(&other, "dev-1", KEY_3).await;
    let elsewhere = format!("{}/registrations/dev-1", other.scope);
    let own = token("dev-2", KEY_3);
    let of_other = Sas::device(&other.scope, "dev-1").sign(KEY_3);
    let false_token = token("dev-1", KEY_3);
    let version = &["2019-03-31"][..];
    let none: &[&str] = &[];
    let plain = |user, password| Login::Plain(user, password);
    for (name, login, address, versions) in [
        ("the target at both", plain(TARGET, &own), TARGET, version),
        (
            "the target at both with a false token",
            plain(TARGET, &false_token),
            TARGET,
            version,
        ),
        ("the target at the link", plain(OWN, &own), TARGET, version),
        ("the target at the login", plain(TARGET, &own), OWN, version),
        (
            "the target as a URL",
            plain(OWN, &own),
            "amqps://localhost/0ne00000001/registrations/dev-1",
            version,
        ),
        (
            "the attacker as the host",
            plain(OWN, &own),
            "amqps://0ne00000001/registrations/dev-2/0ne00000001/registrations/dev-1",
            version,
        ),
        (
            "a slash before the target",
            plain(OWN, &own),
            "/0ne00000001/registrations/dev-1",
            version,
        ),
        (
            "an encoded target",
            plain(OWN, &own),
            "0ne00000001/registrations/%64ev-1",
            version,
        ),
        (
            "a path up",
            plain(OWN, &own),
            "0ne00000001/registrations/dev-2/../dev-1",
            version,
        ),
        (
            "an encoded path",
            plain(OWN, &own),
            "0ne00000001/registrations/dev-2%2F..%2Fdev-1",
            version,
        ),
        (
            "a zero byte",
            plain(OWN, &own),
            "0ne00000001/registrations/dev-2%00dev-1",
            version,
        ),
        (
            "a query",
            plain(OWN, &own),
            "0ne00000001/registrations/dev-2?dev-1",
            version,
        ),
        (
            "an operator's address",
            plain(OWN, &own),
            "enrollments/dev-1",
            version,
        ),
        (
            "the address of the hub",
            plain(OWN, &own),
            "127.0.0.1/devices/dev-1",
            version,
        ),
        ("the node of claims", plain(OWN, &own), "$cbs", version),
        ("no address", plain(OWN, &own), "", version),
        ("no api-version", plain(OWN, &own), OWN, none),
        (
            "an unknown api-version",
            plain(OWN, &own),
            OWN,
            &["2000-01-01-other"],
        ),
        (
            "two authentication identities",
            plain("0ne00000001/registrations/dev-1\0x", &own),
            TARGET,
            version,
        ),
        (
            "an authentication identity after the target",
            plain(
                "0ne00000001/registrations/dev-1\x000ne00000001/registrations/dev-2",
                &own,
            ),
            TARGET,
            version,
        ),
        (
            "a space after the login",
            plain("0ne00000001/registrations/dev-2 ", &own),
            OWN,
            version,
        ),
        (
            "the login of the hub",
            plain("dev-1@sas.127.0.0.1", &own),
            TARGET,
            version,
        ),
        ("no user", plain("", &own), TARGET, version),
        ("no password", plain(TARGET, ""), TARGET, version),
        (
            "another instance at the link",
            plain(OWN, &own),
            &elsewhere,
            version,
        ),
        (
            "another instance at the login",
            plain(&elsewhere, &own),
            &elsewhere,
            version,
        ),
        (
            "a token of another instance",
            plain(OWN, &of_other),
            OWN,
            version,
        ),
        (
            "a token of another instance for the target",
            plain(TARGET, &of_other),
            TARGET,
            version,
        ),
        (
            "a login of another instance and the link of this one",
            plain(&elsewhere, &of_other),
            TARGET,
            version,
        ),
        (
            "a certificate that was not presented",
            Login::External,
            TARGET,
            version,
        ),
        ("no login", Login::None, TARGET, version),
    ] {
        let request = request("iotdps-register", None, &json!({}));
        for stream in streams(&dps, None).await {
            let answered = is_answered(stream, login, address, versions, &request).await;
            assert!(!answered, "{name}");
        }
    }
    for id in ["dev-1", "dev-2"] {
        assert_eq!(dps.get(&format!("/registrations/{id}")).await.status, 404);
    }
    for stream in streams(&dps, None).await {
        let request = request("iotdps-register", None, &json!({}));
        assert!(is_answered(stream, plain(OWN, &own), OWN, version, &request).await);
    }
}
