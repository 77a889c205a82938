//! The change from HTTPS to WebSocket: RFC 6455, section 4.

use crate::common::{Client, Connect, Dps, KEY_1, Tls, Transport, Ws, head};

/// Request line and headers that any WebSocket needs; more may follow, and the empty line must.
const PLAIN: &str = "GET /$iothub/websocket HTTP/1.1\r\n\
    Host: localhost\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n";

async fn asked(dps: &Dps, request: &str) -> (Tls, String) {
    let mut tls = dps.web().await;
    tls.send(request.as_bytes()).await;
    let head = head(&mut tls).await;
    (tls, head)
}

/// Returns the value of a header. The name is in lower case.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Switches protocols, and MQTT follows.
async fn assert_switched(dps: &Dps, request: &str, protocol: &str) -> String {
    let (tls, head) = asked(dps, request).await;
    assert!(
        head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{request}{head}"
    );
    assert_eq!(
        header(&head, "Sec-WebSocket-Accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    let upgrade = header(&head, "Upgrade").expect("an Upgrade header");
    assert!(upgrade.eq_ignore_ascii_case("websocket"), "{head}");
    let connection = header(&head, "Connection").expect("a Connection header");
    assert!(connection.eq_ignore_ascii_case("upgrade"), "{head}");
    assert_eq!(header(&head, "Sec-WebSocket-Protocol"), Some(protocol));
    let mut client = Client::over(Ws::over(tls));
    client.connect(&Connect::with_key("dev-1", KEY_1)).await;
    head
}

/// Asserts that the server refuses the upgrade and continues with HTTP.
async fn assert_refused(dps: &Dps, request: &str) -> String {
    let (mut tls, refused) = asked(dps, request).await;
    assert!(refused.starts_with("HTTP/1.1 4"), "{request}{refused}");
    assert_eq!(header(&refused, "Sec-WebSocket-Accept"), None, "{refused}");
    assert_eq!(header(&refused, "Upgrade"), None, "{refused}");
    let length = header(&refused, "Content-Length").expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    let read = tokio::io::AsyncReadExt::read_exact(&mut tls, &mut body).await;
    read.expect("a body");
    let problem: serde_json::Value = serde_json::from_slice(&body).expect("a JSON body");
    assert!(problem["errorCode"].is_u64(), "{problem}");

    tls.send(format!("{PLAIN}Sec-WebSocket-Protocol: mqtt\r\n\r\n").as_bytes())
        .await;
    let switched = head(&mut tls).await;
    assert!(switched.starts_with("HTTP/1.1 101 "), "{switched}");
    refused
}

#[tokio::test]
async fn the_documented_handshake() {
    let dps = Dps::with_device().await;
    let request = format!("{PLAIN}Sec-WebSocket-Protocol: mqtt\r\n\r\n");
    assert_switched(&dps, &request, "mqtt").await;
}

#[tokio::test]
async fn the_subprotocol_comes_back_in_the_clients_case() {
    let dps = Dps::with_device().await;
    for (offered, chosen) in [
        ("MQTT", "MQTT"),
        ("Mqtt", "Mqtt"),
        ("mqttv3.1, mqtt", "mqtt"),
        ("STOMP,MQTT,mqtt", "MQTT"),
        ("mqtt\r\nSec-WebSocket-Protocol: other", "mqtt"),
        ("other\r\nSec-WebSocket-Protocol: mqtt", "mqtt"),
    ] {
        let request = format!("{PLAIN}Sec-WebSocket-Protocol: {offered}\r\n\r\n");
        assert_switched(&dps, &request, chosen).await;
    }
}

#[tokio::test]
async fn headers_as_browsers_and_sdks_write_them() {
    let dps = Dps::with_device().await;
    let request = "GET /$iothub/websocket HTTP/1.1\r\n\
        host: localhost:443\r\n\
        upgrade: WebSocket\r\n\
        connection: keep-alive, upgrade\r\n\
        origin: https://localhost:443\r\n\
        sec-websocket-key:   dGhlIHNhbXBsZSBub25jZQ==  \r\n\
        sec-websocket-protocol: mqtt\r\n\
        sec-websocket-version: 13\r\n\r\n";
    assert_switched(&dps, request, "mqtt").await;
}

#[tokio::test]
async fn any_path_with_any_query() {
    let dps = Dps::with_device().await;
    let switched = format!("{PLAIN}Sec-WebSocket-Protocol: mqtt\r\n\r\n");
    for path in [
        "/",
        "/mqtt",
        "/$iothub/websocket",
        "/%24iothub/websocket",
        "/$IotHub/WebSocket/",
        "/$iothub/websocket?iothub-no-client-cert=true",
        "/mqtt?a=b&a=c",
        "/?",
        "/any/other/path",
    ] {
        let request = switched.replace("/$iothub/websocket", path);
        assert_switched(&dps, &request, "mqtt").await;
    }
}

#[tokio::test]
async fn compression_is_not_agreed_to() {
    let dps = Dps::with_device().await;
    let request = format!(
        "{PLAIN}Sec-WebSocket-Protocol: mqtt\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    );
    let head = assert_switched(&dps, &request, "mqtt").await;
    assert_eq!(header(&head, "Sec-WebSocket-Extensions"), None, "{head}");
}

#[tokio::test]
async fn handshakes_that_lack_something() {
    let dps = Dps::with_device().await;
    let whole = format!("{PLAIN}Sec-WebSocket-Protocol: mqtt\r\n\r\n");
    for (from, to) in [
        ("Sec-WebSocket-Protocol: mqtt\r\n", ""),
        ("Protocol: mqtt", "Protocol: STOMP"),
        ("Protocol: mqtt", "Protocol: mqttv5"),
        ("Sec-WebSocket-Version: 13\r\n", ""),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
        ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: "),
        ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: dGhl"),
        ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: not base64 at all!!!"),
        ("Upgrade: websocket\r\n", ""),
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade\r\n", ""),
        ("Connection: Upgrade", "Connection: keep-alive"),
        ("GET ", "POST "),
    ] {
        assert!(whole.contains(from), "{from}");
        assert_refused(&dps, &whole.replace(from, to)).await;
    }
}

/// RFC 6455, section 4.4: the answer has the supported version.
#[tokio::test]
async fn another_version_of_websocket() {
    let dps = Dps::with_device().await;
    for version in ["8", "14", "13, 8"] {
        let request = format!("{PLAIN}Sec-WebSocket-Protocol: mqtt\r\n\r\n")
            .replace("Version: 13", &format!("Version: {version}"));
        let head = assert_refused(&dps, &request).await;
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert_eq!(header(&head, "Sec-WebSocket-Version"), Some("13"), "{head}");
    }
}

#[tokio::test]
async fn a_request_for_something_else_before_it() {
    let dps = Dps::with_device().await;
    let mut tls = dps.web().await;
    tls.send(b"GET /0ne00000001/nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let first = head(&mut tls).await;
    assert!(first.starts_with("HTTP/1.1 404 "), "{first}");
    let length = header(&first, "Content-Length").expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    let read = tokio::io::AsyncReadExt::read_exact(&mut tls, &mut body).await;
    read.expect("a body");
    crate::common::handshake(&mut tls).await;
    let mut client = Client::over(Ws::over(tls));
    client.connect(&Connect::with_key("dev-1", KEY_1)).await;
    client.subscribe().await;
    let document = client.provision().await;
    assert_eq!(document["status"], "assigned", "{document}");
}

/// A client that does not wait for 101 with its first frame.
#[tokio::test]
async fn a_frame_together_with_the_handshake() {
    let dps = Dps::with_device().await;
    let mut tls = dps.web().await;
    let request = format!("{PLAIN}Sec-WebSocket-Protocol: mqtt\r\n\r\n");
    // PING with no payload and a mask of zeros.
    let all = [request.as_bytes(), b"\x89\x80\x00\x00\x00\x00"].concat();
    tls.send(&all).await;
    let switched = head(&mut tls).await;
    assert!(switched.starts_with("HTTP/1.1 101 "), "{switched}");
    let mut websocket = Ws::over(tls);
    assert_eq!(websocket.next().await, Some((0x8A, Vec::new())));
}

/// RFC 6455, section 4.2.1: HTTP/1.1 or higher.
#[tokio::test]
async fn http_1_0_cannot_switch() {
    let dps = Dps::with_device().await;
    let request = format!("{PLAIN}Sec-WebSocket-Protocol: mqtt\r\n\r\n");
    let (_, head) = asked(&dps, &request.replace("HTTP/1.1", "HTTP/1.0")).await;
    assert!(head.starts_with("HTTP/1.0 4"), "{head}");
    assert_eq!(header(&head, "Sec-WebSocket-Accept"), None, "{head}");
    dps.still_serves().await;
}
