//! Requests over HTTP keep-alive on loopback: the webhook's server, compared with an axum handler that returns the same JSON, and
//! one that uses our types. Times are CPU times of server and clients, so that the ratio is also valid on a busy machine.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "http_clients.rs"]
mod http_clients;

use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use dps_allocation::{Allocation, Webhook, from_fn};
use dps_benches::{ALLOCATION_REQUEST, cpu_time};
use dps_types::{AllocationRequest, AllocationResponse};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use http_clients::{CONNECTIONS, Clients, REQUESTS};

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

    let (listener, mut clients) = runtime.block_on(connect());
    runtime.spawn(webhook.serve(listener));
    measure("webhook", &mut clients);
    for (name, handler) in [("axum_echo", echo), ("axum_with_our_types", typed)] {
        let (listener, mut clients) = runtime.block_on(connect());
        let router = Router::new().route("/", handler);
        runtime.spawn(async { axum::serve(listener, router).await });
        measure(name, &mut clients);
    }
    group.finish();
}

fn request() -> String {
    let body = serde_json::from_str::<Value>(ALLOCATION_REQUEST).unwrap();
    http_clients::request("POST", "/", "", &body.to_string())
}

/// A new listener, and clients that are connected to it.
async fn connect() -> (TcpListener, Clients) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, Clients::connect(address, |_| request()).await)
}

criterion_group!(benches, webhook);
criterion_main!(benches);
