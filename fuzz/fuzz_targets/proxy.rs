//! Proxies on the way: the URL of one, its answer to CONNECT, and the pages that gateways answer in place of DPS.
#![no_main]

mod pieces;
mod ready;

use dps_device::{Host, Proxy, fuzzing};
use dps_types::RegistrationOperationStatus;
use libfuzzer_sys::fuzz_target;
use pieces::Pieces;
use ready::now;

/// The largest head of an answer.
const MAX_HEAD: usize = 8 * 1024;

const CONTENT_TYPES: [Option<&str>; 4] = [None, Some("application/json"), Some("text/html; charset=utf-8"), Some("")];

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (piece, status, bytes) = input;
    if let Ok(text) = str::from_utf8(bytes) {
        check_url(text);
    }

    let proxy = Proxy::new("proxy", 3128).expect("a proxy").with_credentials("user", "q7Zx2");
    let connect = |piece| {
        let stream = Pieces { bytes, piece };
        now(fuzzing::connect_through_proxy(stream, &proxy, &Host::GLOBAL))
    };
    let whole = connect(usize::MAX);
    let pieces = connect(usize::from(piece).max(1));
    match whole {
        Ok(stream) => {
            // What arrives after the head, in a later read, is for the tunnel.
            let head = bytes.strip_suffix(stream.bytes).expect("the rest is at the end");
            assert!(head.len() <= MAX_HEAD && head.starts_with(b"HTTP/1.") && head.ends_with(b"\r\n\r\n"));
            assert!(pieces.is_ok() || !stream.bytes.is_empty());
        }
        Err(error) => assert!(!error.contains("q7Zx2") && error.len() < 500, "{error}"),
    }

    let is_answer = dps_types::json::from_slice::<RegistrationOperationStatus>(bytes).is_ok();
    for content_type in CONTENT_TYPES {
        let is_foreign = fuzzing::is_foreign(status, content_type, bytes);
        assert!(!is_answer || is_foreign == (status == 407 || status == 511));
    }
});

fn check_url(text: &str) {
    match text.parse::<Proxy>() {
        Ok(proxy) => {
            assert!(!proxy.host().contains(['/', '@', '[', ' ']) && proxy.port() != 0);
            assert!(Proxy::new(proxy.host(), proxy.port()).is_ok());
        }
        Err(error) => assert!(error.to_string().len() < 100),
    }
}
