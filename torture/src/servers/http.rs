//! Servers over HTTPS, and those that fail before HTTP.

use dps_benches::TransportKind;
use dps_device::ErrorKind;

use super::script::Act::{Drip, Endless, Read, Silence};
use super::script::{Act, Layer, Script, script, send};
use super::{Case, PROTOCOL, RETRIED, TLS, UNAUTHORIZED};

/// The head of an answer with JSON, without its length.
const JSON: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = before_http();
    cases.extend(answers());
    cases.extend(documents());
    cases
}

fn before_http() -> Vec<Case> {
    let tcp = |name, acts: Vec<Act>, expected| Case {
        name,
        transport: TransportKind::Http,
        layer: Layer::Tcp,
        script: script(acts),
        expected,
    };
    vec![
        tcp("silent after accept", vec![Silence], RETRIED),
        tcp("closes after accept", vec![], RETRIED),
        tcp("closes after the ClientHello", vec![Read], RETRIED),
        tcp(
            "plain HTTP in place of TLS",
            vec![
                Read,
                send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
            ],
            TLS,
        ),
        tcp(
            "a TLS alert: handshake failure",
            vec![Read, send(b"\x15\x03\x03\x00\x02\x02\x28")],
            TLS,
        ),
        tcp(
            "half of a ServerHello, then silent",
            vec![Read, send(b"\x16\x03\x03\x00\x40\x02"), Silence],
            RETRIED,
        ),
        tcp(
            "zeros without end in place of TLS",
            vec![Read, Endless(vec![0])],
            TLS,
        ),
        tcp(
            "TLS records of an unknown type",
            vec![Read, send(b"\x63\x03\x03\x00\x02\x02\x28")],
            TLS,
        ),
        tcp(
            "a TLS record that is too long",
            vec![Read, send(b"\x16\x03\x03\xFF\xFF"), Endless(vec![1])],
            TLS,
        ),
    ]
}

/// Cases of answers that are not complete, or not HTTP.
fn answers() -> Vec<Case> {
    let ok = |rest: &str| send(format!("{JSON}{rest}"));
    vec![
        tls("silent after TLS", vec![Silence], RETRIED),
        tls("closes after TLS", vec![], RETRIED),
        tls("silent after the request", vec![Read, Silence], RETRIED),
        tls("closes after the request", vec![Read], RETRIED),
        tls(
            "headers without end",
            vec![
                Read,
                send("HTTP/1.1 200 OK\r\n"),
                Endless(b"X-Filler: xxxxxxxxxxxxxxxx\r\n".to_vec()),
            ],
            RETRIED,
        ),
        tls(
            "one header without end",
            vec![
                Read,
                send("HTTP/1.1 200 OK\r\nX-Filler: "),
                Endless(b"x".to_vec()),
            ],
            RETRIED,
        ),
        tls(
            "a status line without end",
            vec![Read, send("HTTP/1.1 200 "), Endless(b"x".to_vec())],
            RETRIED,
        ),
        tls(
            "interim answers without end",
            vec![Read, Endless(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())],
            RETRIED,
        ),
        tls(
            "a body without end",
            vec![Read, ok("\r\n"), Endless(b" ".to_vec())],
            PROTOCOL,
        ),
        tls(
            "a body with a huge length",
            vec![
                Read,
                ok("Content-Length: 99999999999999\r\n\r\n"),
                Endless(b" ".to_vec()),
            ],
            PROTOCOL,
        ),
        tls(
            "chunks without end",
            vec![
                Read,
                ok("Transfer-Encoding: chunked\r\n\r\n"),
                Endless(b"1\r\n \r\n".to_vec()),
            ],
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
        tls(
            "a chunk extension without end",
            vec![
                Read,
                ok("Transfer-Encoding: chunked\r\n\r\n1;"),
                Endless(b"x".to_vec()),
            ],
            RETRIED,
        ),
        tls(
            "trailers without end",
            vec![
                Read,
                ok("Transfer-Encoding: chunked\r\n\r\n0\r\n"),
                Endless(b"X-Filler: xxxx\r\n".to_vec()),
            ],
            RETRIED,
        ),
        tls(
            "an error page without end",
            vec![
                Read,
                send("HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n"),
                Endless(b"x".to_vec()),
            ],
            PROTOCOL,
        ),
        tls(
            "a slow head",
            vec![Read, Drip(b"HTTP/1.1 200 OK\r\nX-Filler: x\r\n".to_vec())],
            RETRIED,
        ),
        tls(
            "a slow body",
            vec![Read, ok("\r\n"), Drip(b" ".to_vec())],
            RETRIED,
        ),
        tls(
            "a body that is too short, then closed",
            vec![Read, ok("Content-Length: 100\r\n\r\n{")],
            RETRIED,
        ),
        tls(
            "a body that is too short, then silent",
            vec![Read, ok("Content-Length: 100\r\n\r\n{"), Silence],
            RETRIED,
        ),
        tls(
            "a negative length",
            vec![Read, ok("Content-Length: -1\r\n\r\n{}")],
            RETRIED,
        ),
        tls(
            "a length that is not a number",
            vec![Read, ok("Content-Length: many\r\n\r\n{}")],
            RETRIED,
        ),
        tls(
            "two lengths",
            vec![Read, ok("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}")],
            RETRIED,
        ),
        tls(
            "a chunk that is not hexadecimal",
            vec![Read, ok("Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")],
            RETRIED,
        ),
        tls(
            "a chunk length that overflows",
            vec![
                Read,
                ok("Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n{}"),
            ],
            RETRIED,
        ),
        tls(
            "an answer of HTTP/0.9",
            vec![Read, send("<html>hello</html>")],
            RETRIED,
        ),
        tls(
            "an answer of HTTP/2",
            vec![Read, send(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"), Silence],
            RETRIED,
        ),
        tls(
            "a null byte in a header",
            vec![Read, send("HTTP/1.1 200 OK\r\nX: \0\r\n\r\n")],
            RETRIED,
        ),
        tls(
            "a status that is not a number",
            vec![Read, send("HTTP/1.1 abc OK\r\n\r\n")],
            RETRIED,
        ),
        tls(
            "the status 000",
            vec![Read, send("HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n")],
            RETRIED,
        ),
    ]
}

/// Cases of complete answers with unexpected content.
fn documents() -> Vec<Case> {
    let assigned = |hub: &str, id: &str| {
        format!(
            r#"{{"operationId":"4.a.b","status":"assigned","registrationState":{{"registrationId":"{id}","assignedHub":"{hub}","deviceId":"{id}","status":"assigned","substatus":"initialAssignment"}}}}"#
        )
    };
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let deep_payload = format!(
        r#"{{"operationId":"4.a.b","status":"assigned","registrationState":{{"registrationId":"my-device","assignedHub":"hub.azure-devices.net","deviceId":"my-device","status":"assigned","payload":{deep}}}}}"#
    );
    let long = format!(
        r#"{{"operationId":"{}","status":"assigning"}}"#,
        "4".repeat(200_000)
    );
    let zipped = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x05";
    vec![
        tls(
            "a redirect to itself",
            vec![
                Read,
                send("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"),
            ],
            PROTOCOL,
        ),
        tls(
            "a redirect to plain HTTP",
            vec![
                Read,
                send(
                    "HTTP/1.1 308 Permanent Redirect\r\nLocation: http://localhost/\r\nContent-Length: 0\r\n\r\n",
                ),
            ],
            PROTOCOL,
        ),
        tls(
            "101 without a request for it",
            vec![
                Read,
                send(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                ),
                Silence,
            ],
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
        tls("the status 999", answer("999 Unknown", "", "{}"), PROTOCOL),
        tls(
            "the status 418",
            answer("418 Teapot", "", "{}"),
            &[ErrorKind::Rejected, ErrorKind::Protocol],
        ),
        tls(
            "204 without a body",
            vec![Read, send("HTTP/1.1 204 No Content\r\n\r\n")],
            PROTOCOL,
        ),
        tls("an empty body", answer("200 OK", "", ""), PROTOCOL),
        tls(
            "JSON that is too deep",
            answer("200 OK", "", &deep),
            PROTOCOL,
        ),
        tls(
            "a payload that is too deep",
            answer("200 OK", "", &deep_payload),
            PROTOCOL,
        ),
        tls("an array", answer("200 OK", "", "[]"), PROTOCOL),
        tls(
            "wrong types",
            answer("200 OK", "", r#"{"operationId":1,"status":{}}"#),
            PROTOCOL,
        ),
        tls(
            "not UTF-8",
            vec![
                Read,
                send(
                    [
                        format!("{JSON}Content-Length: 3\r\n\r\n").as_bytes(),
                        b"\"\xff\"",
                    ]
                    .concat(),
                ),
            ],
            PROTOCOL,
        ),
        tls(
            "an operation id of 200,000 characters",
            answer("202 Accepted", "", &long),
            PROTOCOL,
        ),
        tls(
            "an operation id with a path",
            answer(
                "202 Accepted",
                "",
                r#"{"operationId":"../../x","status":"assigning"}"#,
            ),
            &[ErrorKind::Protocol, ErrorKind::Deadline],
        ),
        tls(
            "an assignment of another device",
            answer("200 OK", "", &assigned("hub.azure-devices.net", "other")),
            PROTOCOL,
        ),
        tls(
            "a hub that is not a host",
            answer("200 OK", "", &assigned("hub/../x y", "my-device")),
            PROTOCOL,
        ),
        tls(
            "a page of a captive portal",
            vec![
                Read,
                send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
                ),
            ],
            PROTOCOL,
        ),
        tls(
            "compressed without a request for it",
            vec![Read, send(zipped)],
            PROTOCOL,
        ),
        tls(
            "assigning without end",
            answer(
                "202 Accepted",
                "Retry-After: 0\r\n",
                r#"{"operationId":"4.a.b","status":"assigning"}"#,
            ),
            RETRIED,
        ),
        tls(
            "an unknown status of the registration",
            answer(
                "200 OK",
                "",
                r#"{"operationId":"4.a.b","status":"quantum"}"#,
            ),
            PROTOCOL,
        ),
        tls(
            "a huge Retry-After",
            answer(
                "429 Too Many Requests",
                "Retry-After: 999999999999999999\r\n",
                "{}",
            ),
            RETRIED,
        ),
        tls(
            "a Retry-After that overflows",
            answer(
                "429 Too Many Requests",
                "Retry-After: 99999999999999999999999\r\n",
                "{}",
            ),
            RETRIED,
        ),
        tls(
            "a negative Retry-After",
            answer("503 Unavailable", "Retry-After: -5\r\n", "{}"),
            RETRIED,
        ),
        tls(
            "a Retry-After in the year 9999",
            answer(
                "503 Unavailable",
                "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
                "{}",
            ),
            RETRIED,
        ),
        tls(
            "401 with a page",
            vec![
                Read,
                send(
                    "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
                ),
            ],
            &[ErrorKind::Protocol, ErrorKind::Unauthorized],
        ),
        tls(
            "401 with an invalid document",
            answer("401 Unauthorized", "", "{"),
            UNAUTHORIZED,
        ),
    ]
}

/// An answer with this document.
fn answer(status: &str, headers: &str, body: &str) -> Vec<Act> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}");
    // Later requests of the connection receive the same answer.
    let whole = send(format!("{head}Content-Length: {length}\r\n\r\n{body}"));
    std::iter::repeat_n([Read, whole], 1000).flatten().collect()
}

fn tls(name: &'static str, acts: Vec<Act>, expected: &'static [ErrorKind]) -> Case {
    Case {
        name,
        transport: TransportKind::Http,
        layer: Layer::Tls,
        script: Script(acts),
        expected,
    }
}
