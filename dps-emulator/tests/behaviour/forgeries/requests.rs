//! Requests that are ambiguous, or whose parts disagree about the device that they are for.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::is_registered;
use crate::common::{Dps, KEY_1, KEY_2, KEY_3, TIMEOUT, key_enrollment, token};

/// Sends these bytes, and returns everything until the emulator closes the connection.
async fn exchange(dps: &Dps, request: &str) -> String {
    let mut stream = dps.connect().await;
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await;
    // A server that closes without reading the rest may reset the connection.
    let _ = read.expect("the emulator closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

/// A registration of the device in `path`, with these header lines and this body.
fn register(path: &str, headers: &str, body: &str) -> String {
    format!(
        "PUT {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{body}"
    )
}

/// `dev-2` is the attacker, who has its own valid token. `dev-1` is the target.
#[tokio::test]
async fn no_request_registers_another_device_than_that_of_its_token() {
    let dps = Dps::start().await;
    for (id, key) in [("dev-1", KEY_1), ("dev-2", KEY_3)] {
        let document = key_enrollment(id, key, KEY_2);
        dps.create(&format!("/enrollments/{id}"), &document).await;
    }
    let own = token("dev-2", KEY_3);
    let authorization = format!("Authorization: {own}\r\nContent-Length: 2");
    let query = "/register?api-version=2021-06-01";
    for path in [
        format!("/0ne00000001/registrations/dev-1{query}"),
        format!("/0ne00000001/registrations/dev-2/../dev-1{query}"),
        format!("/0ne00000001/registrations/dev-2%2F..%2Fdev-1{query}"),
        format!("/0ne00000001/registrations/dev-2;/dev-1{query}"),
        format!("/0ne00000001/registrations//dev-1{query}"),
        format!("//0ne00000001/registrations/dev-1{query}"),
        format!("/0ne00000001/registrations/dev-1%00{query}"),
        format!("/0ne00000001/registrations/dev-1%20{query}"),
        format!("/0ne00000001/registrations/dev%2D1{query}"),
        format!("/0ne00000001/registrations/%64ev-1{query}"),
        format!("/0NE00000001/REGISTRATIONS/DEV-1{query}"),
        format!("/0ne00000001/registrations/dev-1{query}&registrationId=dev-2"),
        format!("https://localhost/0ne00000001/registrations/dev-1{query}"),
        format!("/0ne00000001/registrations/dev-2#/dev-1{query}"),
        format!("/0ne00000001/registrations/dev-2\\..\\dev-1{query}"),
    ] {
        let answer = exchange(&dps, &register(&path, &authorization, "{}")).await;
        assert!(!is_registered(&dps).await, "{path}: {answer}");
        let accepted = answer.starts_with("HTTP/1.1 202 ");
        assert!(!accepted, "{path}: {answer}");
    }
    let path = format!("/0ne00000001/registrations/dev-2{query}");
    let stranger = token("dev-1", KEY_2);
    for headers in [
        // Two credentials
        format!("Authorization: {own}\r\nAuthorization: {stranger}\r\nContent-Length: 2"),
        // Two lengths (RFC 9112, section 6.3)
        format!("Authorization: {own}\r\nContent-Length: 2\r\nContent-Length: 3"),
        format!("Authorization: {own}\r\nContent-Length: 2, 3"),
        format!("Authorization: {own}\r\nContent-Length: +2"),
        format!("Authorization: {own}\r\nContent-Length: -2"),
        // A length and chunks
        format!(
            "Authorization: {own}\r\nTransfer-Encoding: chunked, identity\r\nContent-Length: 2"
        ),
        format!("Authorization: {own}\r\nTransfer-Encoding: xchunked"),
        // A space before the colon (RFC 9112, section 5.1), and a folded line (5.2)
        format!("Authorization : {own}\r\nContent-Length: 2"),
        format!("Authorization: {own}\r\nX-A: 1\r\n Content-Length: 2"),
    ] {
        let answer = exchange(&dps, &register(&path, &headers, "{}")).await;
        let accepted = answer.starts_with("HTTP/1.1 202 ");
        assert!(!accepted, "{headers}: {answer}");
    }
    // A body that names another device does not register it.
    let body = r#"{"registrationId":"dev-1"}"#;
    let headers = format!("Authorization: {own}\r\nContent-Length: {}", body.len());
    exchange(&dps, &register(&path, &headers, body)).await;
    assert!(!is_registered(&dps).await);
    // A second request in the body of the first is not a request.
    let hidden = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let headers = format!("Authorization: {own}\r\nContent-Length: {}", hidden.len());
    let answer = exchange(&dps, &register(&path, &headers, &hidden)).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
}
