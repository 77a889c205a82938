//! Requests over HTTP keep-alive on loopback: the webhook's server, compared with an axum handler that returns the same JSON, and
//! one that uses our types. Times are CPU times of server and clients, so that the ratio is also valid on a busy machine.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use dps_allocation::{Allocation, Webhook, from_fn};
use dps_benches::{ALLOCATION_REQUEST, cpu_time};
use dps_types::{AllocationRequest, AllocationResponse};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const CONNECTIONS: usize = 8;
const REQUESTS: usize = 64;

fn webhook(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let webhook = Webhook::new(from_fn(|request: &AllocationRequest| {
        Ok(Allocation::to(request.linked_hubs[0].clone()))
    }));
    let echo = post(async |Json(body): Json<Value>| Json(body));
    let typed = post(async |Json(request): Json<AllocationRequest>| {
        Json(AllocationResponse::new(request.linked_hubs[0].clone()))
    });

    let mut group = criterion.benchmark_group("webhook");
    group.throughput(Throughput::Elements((CONNECTIONS * REQUESTS) as u64));
    group.sampling_mode(SamplingMode::Flat);
    group
        .sample_size(40)
        .measurement_time(Duration::from_secs(4));
    let mut measure = |name, clients: &mut Clients| {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let began = cpu_time();
                (0..times).for_each(|_| runtime.block_on(clients.ask()));
                cpu_time() - began
            });
        });
    };

    let (listener, mut clients) = runtime.block_on(Clients::connect());
    runtime.spawn(webhook.serve(listener));
    measure("webhook", &mut clients);
    for (name, handler) in [("axum_echo", echo), ("axum_with_our_types", typed)] {
        let (listener, mut clients) = runtime.block_on(Clients::connect());
        let router = Router::new().route("/", handler);
        runtime.spawn(async { axum::serve(listener, router).await });
        measure(name, &mut clients);
    }
    group.finish();
}

/// A minimal client, so that mostly the servers are measured.
struct Clients(Vec<TcpStream>);

impl Clients {
    /// Connects to a new listener that is not served yet.
    async fn connect() -> (TcpListener, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let streams = (0..CONNECTIONS).map(async |_| {
            let stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        });
        (listener, Self(join_all(streams).await))
    }

    /// Uses all connections concurrently, with one request at a time on each.
    async fn ask(&mut self) {
        let asking = self.0.drain(..).map(|mut stream| {
            tokio::spawn(async move {
                let request = request();
                for _ in 0..REQUESTS {
                    stream.write_all(request.as_bytes()).await.unwrap();
                    answer(&mut stream).await;
                }
                stream
            })
        });
        let streams = join_all(asking).await;
        self.0 = streams.into_iter().map(Result::unwrap).collect();
    }
}

fn request() -> String {
    let body = serde_json::from_str::<Value>(ALLOCATION_REQUEST)
        .unwrap()
        .to_string();
    let length = body.len();
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

/// Reads one answer, whose status must be 200.
async fn answer(stream: &mut TcpStream) {
    let (mut buffer, mut filled) = ([0; 8192], 0);
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        assert_ne!(read, 0, "closed");
        filled += read;
        let text = str::from_utf8(&buffer[..filled]).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            assert!(head.starts_with("HTTP/1.1 200 "), "{text}");
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == length.unwrap().parse::<usize>().unwrap() {
                return;
            }
        }
    }
}

criterion_group!(benches, webhook);
criterion_main!(benches);
