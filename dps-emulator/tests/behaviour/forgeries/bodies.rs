//! Bodies of HTTP requests that hide another request.

use super::http::{PATH, exchange, is_success};
use super::is_registered;
use crate::common::{Dps, KEY_1, KEY_2, key_enrollment, token};

/// A request after another on one connection. The hidden request is never answered.
#[tokio::test]
async fn no_body_hides_a_request() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let own = token("dev-1", KEY_1);
    let hidden = format!("GET {PATH} HTTP/1.1\r\nHost: hidden\r\n\r\n");
    let chunk = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    for (name, headers, body) in [
        (
            "in a body",
            format!("Content-Length: {}", hidden.len()),
            hidden.clone(),
        ),
        (
            "in a chunk",
            "Transfer-Encoding: chunked".to_owned(),
            chunk.clone(),
        ),
        (
            "after the last chunk, with a length",
            format!(
                "Content-Length: {}\r\nTransfer-Encoding: chunked",
                hidden.len() + 5
            ),
            format!("0\r\n\r\n{hidden}"),
        ),
        (
            "after a short length, with a coding",
            "Content-Length: 4\r\nTransfer-Encoding: chunked".to_owned(),
            chunk.clone(),
        ),
        (
            "in a chunk extension",
            "Transfer-Encoding: chunked".to_owned(),
            format!("2;\n{hidden}\r\n{{}}\r\n0\r\n\r\n"),
        ),
        (
            "in a trailer",
            "Transfer-Encoding: chunked".to_owned(),
            format!("2\r\n{{}}\r\n0\r\n{hidden}"),
        ),
        (
            "after a chunk with a wrong length",
            "Transfer-Encoding: chunked".to_owned(),
            format!("1\r\n{{}}\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "after a chunk of 65 bits",
            "Transfer-Encoding: chunked".to_owned(),
            format!("10000000000000002\r\n{{}}\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "after a negative chunk",
            "Transfer-Encoding: chunked".to_owned(),
            format!("-2\r\n{{}}\r\n0\r\n\r\n{hidden}"),
        ),
    ] {
        let request = format!(
            "PUT {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Authorization: {own}\r\n{headers}\r\n\r\n{body}"
        );
        let answer = exchange(&dps, &request).await;
        let answers = answer.matches("HTTP/1.1 ").count();
        assert!(answers <= 1 && !is_success(&answer), "{name}: {answer}");
    }
    // The same on a connection that stays open: a request with both a length and a coding ends it (RFC 9112, section 6.1).
    let request = format!(
        "PUT {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: {own}\r\n\
         Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
        hidden.len() + 5
    );
    let answer = exchange(&dps, &request).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(!is_registered(&dps).await);
    let genuine = dps.device("dev-1").key(KEY_1).register().await;
    assert_eq!(genuine.status, 202, "{genuine:?}");
}
