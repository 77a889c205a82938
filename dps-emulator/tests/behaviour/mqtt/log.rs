//! The log at the default level: each refusal is one line with the device, the transport and the reason.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use dps_emulator::CertificateAuthority;
use tracing::Dispatch;
use tracing::subscriber::{DefaultGuard, NoSubscriber};

use crate::common::{
    Connect, Dps, FOREVER, KEY_1, KEY_2, NOT_AUTHORIZED, REGISTER, TIMEOUT, hub_token, publish,
    subscribe, token,
};

/// The log of the test's thread, on which the emulator runs, at level `warn`.
struct Log {
    text: Buffer,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> Self {
        // With one subscriber only, tracing would cache for all threads that a thread without it has no use for a message.
        static SECOND: LazyLock<Dispatch> =
            LazyLock::new(|| Dispatch::new(NoSubscriber::default()));
        LazyLock::force(&SECOND);

        let text = Buffer::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        Self {
            text,
            _guard: guard,
        }
    }

    /// Waits for a line with all of these texts, and asserts that it is the only line since the last call.
    async fn assert_line(&self, texts: &[&str]) {
        let read = || String::from_utf8(self.text.0.lock().expect("not poisoned").clone());
        let arrived = async {
            while read().expect("text").is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(TIMEOUT, arrived)
            .await
            .unwrap_or_else(|_| panic!("no line with {texts:?}"));
        let log = read().expect("text");
        assert_eq!(log.lines().count(), 1, "{log}");
        for text in texts {
            assert!(log.contains(text), "'{text}' is not in: {log}");
        }
        for secret in [KEY_1, KEY_2, "sig=", "SharedAccessSignature"] {
            assert!(!log.contains(secret), "{log}");
        }
        self.text.0.lock().expect("not poisoned").clear();
    }
}

#[tokio::test]
async fn a_connection_that_is_refused() {
    let dps = Dps::with_device().await;
    let log = Log::start();
    let wrong_id = Connect::with_key("dev-1", KEY_1).client_id("mqttpkj");
    let reason = "the client id must be the registration id 'dev-1', and is 'mqttpkj'";
    for (connect, texts) in [
        (wrong_id, ["device=\"mqttpkj\"", "400004", reason]),
        (
            Connect::with_key("dev-1", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpBQkNERUY="),
            ["device=\"dev-1\"", "401002", "reason="],
        ),
        (
            Connect::with_key("dev-1", KEY_1)
                .username("0ne00000002/registrations/dev-1/api-version=2019-03-31"),
            ["device=\"dev-1\"", "401002", "0ne00000002"],
        ),
        (
            Connect::of("dev-1").password(&hub_token("127.0.0.1", "dev-1", KEY_1, FOREVER)),
            ["device=\"dev-1\"", "401002", "reason="],
        ),
    ] {
        let mut client = dps.mqtt().await;
        client.send(&connect.bytes()).await;
        client.expect(NOT_AUTHORIZED).await;
        client.closed().await;
        log.assert_line(&[&texts[..], &["WARN", "transport=\"MQTT\"", "peer="]].concat())
            .await;
    }
}

#[tokio::test]
async fn a_connection_that_ends_because_of_a_packet() {
    let dps = Dps::with_device().await;
    let log = Log::start();
    let register = "$dps/registrations/PUT/iotdps-register/";
    let mut qos_2 = publish(7, &format!("{REGISTER}1"), b"{}");
    qos_2[0] = 0x34;
    for (packet, reason) in [
        // A shell replaced $dps and $rid.
        (
            publish(7, "/registrations/PUT/iotdps-register/?=1", b"{}"),
            "PUBLISH to '/registrations/PUT/iotdps-register/?=1'",
        ),
        (
            publish(7, register, b"{}"),
            "PUBLISH to '$dps/registrations",
        ),
        (publish(7, &format!("{register}?a=1"), b"{}"), "$rid"),
        (qos_2, "QoS 2"),
        (
            Connect::with_key("dev-1", KEY_1).bytes(),
            "a second CONNECT",
        ),
    ] {
        let mut client = dps.mqtt_device("dev-1").await;
        client.send(&packet).await;
        client.closed().await;
        log.assert_line(&["device=\"dev-1\"", reason]).await;
    }
}

#[tokio::test]
async fn a_subscription_that_is_refused() {
    let dps = Dps::with_device().await;
    let log = Log::start();
    let mut client = dps.mqtt_device("dev-1").await;
    for filter in ["#", "$dps/registrations/res/"] {
        client.send(&subscribe(3, &[(filter, 0)])).await;
        client.expect(b"\x90\x03\x00\x03\x80").await;
        let reason = format!("SUBACK 0x80: there is no topic filter '{filter}'");
        log.assert_line(&[&reason, "$dps/registrations/res/#"])
            .await;
    }
}

#[tokio::test]
async fn a_response_without_a_subscription() {
    let dps = Dps::with_device().await;
    let log = Log::start();
    let mut client = dps.mqtt().await;
    client.connect(&Connect::with_key("dev-1", KEY_1)).await;
    client
        .send(&publish(7, &format!("{REGISTER}1"), b"{}"))
        .await;
    client.expect(b"\x40\x02\x00\x07").await;
    log.assert_line(&["has not subscribed to '$dps/registrations/res/#'"])
        .await;
}

#[tokio::test]
async fn a_client_of_mqtt_5() {
    let dps = Dps::with_device().await;
    let log = Log::start();
    let connect = Connect {
        level: 5,
        ..Connect::of("dev-1").password(&token("dev-1", KEY_1))
    };
    let mut client = dps.mqtt().await;
    client.send(&connect.bytes()).await;
    client.expect(b"\x20\x02\x00\x01").await;
    log.assert_line(&["MQTT 5 and 3.1 are not supported"]).await;
}

#[tokio::test]
async fn a_request_over_https_that_is_refused() {
    let dps = Dps::with_device().await;
    let log = Log::start();
    let wrong = token("dev-1", "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpBQkNERUY=");
    let refused = dps.device("dev-1").token(wrong).register().await;
    assert_eq!(refused.status, 401, "{refused:?}");
    log.assert_line(&["device=\"dev-1\"", "transport=\"HTTPS\"", "401002"])
        .await;
    let missing = dps.device("dev-1").key(KEY_1).poll("none").await;
    assert_eq!(missing.status, 404, "{missing:?}");
    log.assert_line(&["404001", "Operation not found."]).await;
}

#[tokio::test]
async fn a_tls_handshake_that_fails() {
    let dps = Dps::with_device().await;
    let log = Log::start();
    let other = CertificateAuthority::new("Other").expect("a CA");
    dps.handshake_trusting(other.certificate_pem())
        .await
        .expect_err("the emulator's CA is not trusted");
    log.assert_line(&[
        "WARN",
        "the TLS handshake failed: ",
        "the client does not accept the server's certificate",
    ])
    .await;
}

#[tokio::test]
async fn nothing_is_logged_about_a_device_that_does_everything_right() {
    let dps = Dps::with_device().await;
    let log = Log::start();
    dps.mqtt_device("dev-1").await.provision().await;
    assert!(log.text.0.lock().expect("not poisoned").is_empty());
}
