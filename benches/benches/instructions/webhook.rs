//! One allocation through the webhook: the call alone, and a request over HTTP keep-alive.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpStream;

use dps_allocation::{Allocation, Webhook, from_fn};
use dps_benches::ALLOCATION_REQUEST;
use dps_types::AllocationRequest;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::meter::{Meter, Side, Thread};
use crate::server::{Server, runtime};

/// The requests in one count.
const REQUESTS: u32 = 16;

pub(crate) fn measure(meter: &Meter) {
    let body = serde_json::from_str::<Value>(ALLOCATION_REQUEST).unwrap();
    let body = body.to_string();
    let webhook = Webhook::new(from_fn(|request: &AllocationRequest| {
        Ok(Allocation::to(request.linked_hubs[0].clone()))
    }));

    let runtime = runtime();
    meter.count("webhook/handle", || {
        let request = http::Request::post("/").header("content-type", "application/json");
        let request = request.body(black_box(body.as_bytes())).unwrap();
        runtime.block_on(webhook.handle(request))
    });

    if !meter.selects("webhook/http") {
        return;
    }
    let (server, address) = Server::start(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(webhook.serve(listener));
        address
    });
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let length = body.len();
    let request = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut answer = [0; 4096];
    // The client is minimal, and not ours.
    let sides = [Side("", Thread::Of(server.handle()))];
    meter.sample("webhook/http", &sides, REQUESTS, |_| {
        for _ in 0..REQUESTS {
            stream.write_all(request.as_bytes()).unwrap();
            let read = stream.read(&mut answer).unwrap();
            assert!(answer[..read].starts_with(b"HTTP/1.1 200 "));
        }
        server.wait_for_idle();
    });
}
