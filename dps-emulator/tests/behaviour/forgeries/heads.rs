//! Heads of HTTP requests that two readers could read in different ways.

use super::http::{PATH, exchange, is_success, register};
use super::is_registered;
use crate::common::{Dps, KEY_1, KEY_2, KEY_3, key_enrollment, token};
use crate::instances::{create, enroll};

/// The attacker has a valid token of `dev-2`. A head that names `dev-1` in another place does not change the target.
#[tokio::test]
async fn no_head_changes_the_target() {
    let dps = Dps::start().await;
    for (id, key) in [("dev-1", KEY_1), ("dev-2", KEY_3)] {
        let document = key_enrollment(id, key, KEY_2);
        dps.create(&format!("/enrollments/{id}"), &document).await;
    }
    let (_, other) = create(&dps, "suite-1").await;
    enroll(&other, "dev-1", KEY_3).await;
    let own = format!("Authorization: {}", token("dev-2", KEY_3));
    let of_other = crate::common::Sas::device(&other.scope, "dev-1").sign(KEY_3);
    let of_other = format!("Authorization: {of_other}");
    let own_path = "/0ne00000001/registrations/dev-2/register?api-version=2021-06-01";
    let start = format!("PUT {PATH} HTTP/1.1");
    let own_start = format!("PUT {own_path} HTTP/1.1");
    let (host, length) = ("Host: localhost", "Content-Length: 2");
    let suite = "Host: suite-1.azure-devices-provisioning.net";
    for (name, start, headers) in [
        ("its own token", start.clone(), vec![host, length, &own]),
        (
            "the host of another instance",
            start.clone(),
            vec![suite, length, &own],
        ),
        (
            "a token of another instance",
            start.clone(),
            vec![host, length, &of_other],
        ),
        (
            "a token and the host of another instance",
            start.clone(),
            vec![suite, length, &of_other],
        ),
        (
            "an absolute target",
            format!("PUT https://localhost{PATH} HTTP/1.1"),
            vec![host, length, &own],
        ),
        (
            "an absolute target at another host",
            format!("PUT https://suite-1.azure-devices-provisioning.net{PATH} HTTP/1.1"),
            vec![host, length, &of_other],
        ),
        (
            "the original URL",
            start.clone(),
            vec![
                host,
                length,
                &own,
                "X-Original-URL: /0ne00000001/registrations/dev-2/register",
            ],
        ),
        (
            "the rewritten URL",
            start.clone(),
            vec![
                host,
                length,
                &own,
                "X-Rewrite-URL: /0ne00000001/registrations/dev-2/register",
            ],
        ),
        (
            "another method",
            "GET /0ne00000001/registrations/dev-1/register?api-version=2021-06-01 HTTP/1.1"
                .to_owned(),
            vec![host, length, &own, "X-HTTP-Method-Override: PUT"],
        ),
        (
            "HTTP/1.0",
            format!("PUT {PATH} HTTP/1.0"),
            vec![length, &own],
        ),
        (
            "HTTP/2 in words",
            format!("PUT {PATH} HTTP/2.0"),
            vec![host, length, &own],
        ),
        (
            "no version",
            format!("PUT {PATH}"),
            vec![host, length, &own],
        ),
        (
            "two hosts",
            own_start.clone(),
            vec![host, suite, length, &own],
        ),
        (
            "two tokens",
            own_start.clone(),
            vec![host, length, &own, &of_other],
        ),
        (
            "two tokens, the same",
            own_start.clone(),
            vec![host, length, &own, &own],
        ),
        (
            "a token and a zero byte",
            start.clone(),
            vec![host, length, &own, "X-A: \0"],
        ),
        (
            "a header without a colon",
            own_start.clone(),
            vec![host, length, &own, "X-A"],
        ),
        (
            "a header without a name",
            own_start.clone(),
            vec![host, length, &own, ": 1"],
        ),
        (
            "a space in a name",
            own_start.clone(),
            vec![host, length, &own, "X A: 1"],
        ),
        (
            "a line feed in a name",
            own_start.clone(),
            vec![host, length, &own, "X\nA: 1\r\n \r\n: 2"],
        ),
        (
            "two lengths",
            own_start.clone(),
            vec![host, length, "Content-Length: 3", &own],
        ),
        (
            "a length in hexadecimal",
            own_start.clone(),
            vec![host, "Content-Length: 0x2", &own],
        ),
        (
            "a length above 64 bits",
            own_start.clone(),
            vec![host, "Content-Length: 18446744073709551618", &own],
        ),
        (
            "a length and a coding",
            own_start.clone(),
            vec![host, length, "Transfer-Encoding: chunked", &own],
        ),
        (
            "a coding and a length",
            own_start.clone(),
            vec![host, "Transfer-Encoding: chunked", length, &own],
        ),
        (
            "a coding in another case",
            own_start.clone(),
            vec![host, length, "Transfer-Encoding: CHUNKED", &own],
        ),
        (
            "a coding with a tab",
            own_start.clone(),
            vec![host, length, "Transfer-Encoding:\tchunked", &own],
        ),
        (
            "two codings",
            own_start.clone(),
            vec![
                host,
                "Transfer-Encoding: chunked",
                "Transfer-Encoding: chunked",
                &own,
            ],
        ),
        (
            "a coding that is not the last",
            own_start.clone(),
            vec![host, "Transfer-Encoding: chunked, gzip", &own],
        ),
        (
            "an unknown coding",
            own_start.clone(),
            vec![host, "Transfer-Encoding: cow", &own],
        ),
        (
            "a coding in HTTP/1.0",
            format!("PUT {own_path} HTTP/1.0"),
            vec!["Transfer-Encoding: chunked", &own],
        ),
        (
            "two media types",
            own_start.clone(),
            vec![host, length, "Content-Type: text/plain", &own],
        ),
        (
            "two api-versions",
            format!("PUT {own_path}&api-version=2019-03-31 HTTP/1.1"),
            vec![host, length, &own],
        ),
    ] {
        let answer = exchange(&dps, &register(&start, &headers)).await;
        assert!(!is_success(&answer), "{name}: {answer}");
    }
    assert!(!is_registered(&dps).await);
    let answer = exchange(&dps, &register(&own_start, &[host, length, &own])).await;
    assert!(is_success(&answer), "{answer}");
}
