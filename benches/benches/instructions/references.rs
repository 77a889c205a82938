//! The references of the comparison with other tools: work like that of the operations, without our code.

use std::hint::black_box;

use dps_benches::ALLOCATION_REQUEST;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::comparison::{HANDSHAKE, HMAC, JSON};
use crate::handshake::Handshake;
use crate::https;
use crate::meter::{Meter, Side, Thread};
use crate::server::{Server, runtime};

/// A registration over HTTPS without our code. Each side has a name of its own.
pub(crate) const HTTPS: &str = "reference/https";

/// Counts the references without TLS. A filter does not exclude them.
pub(crate) fn measure(meter: &Meter) {
    meter.count(JSON, || {
        let document: Value = serde_json::from_str(black_box(ALLOCATION_REQUEST)).unwrap();
        document.to_string()
    });
    meter.count(HMAC, || {
        let mut mac = Hmac::<Sha256>::new_from_slice(black_box(&[7; 32])).unwrap();
        mac.update(b"0ne00000A0A%2Fregistrations%2Ftoaster-1\n1700000000");
        mac.finalize()
    });
}

/// Counts the references with TLS. A filter does not exclude them.
pub(crate) fn measure_tls(meter: &Meter) {
    let handshake = Handshake::new();
    meter.sample(HANDSHAKE, &[Side("", Thread::Main)], 1, |_| {
        handshake.perform();
    });
    let runtime = runtime();
    let server_side = handshake.clone();
    let (server, port) = Server::start(|| async move { https::serve(&server_side).await });
    let sides = [
        Side("/client", Thread::Main),
        Side("/server", Thread::Of(server.handle())),
    ];
    meter.sample(HTTPS, &sides, 1, |_| {
        // An address, as in the registrations.
        runtime.block_on(https::register(&handshake, "127.0.0.1", port));
        while runtime.metrics().num_alive_tasks() > 0 {
            runtime.block_on(tokio::task::yield_now());
        }
        server.settle();
    });
}
