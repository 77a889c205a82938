//! One allocation, from the bytes of the documented request to the bytes of the answer: with the webhook, with the types only,
//! and with plain JSON values.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dps_allocation::{Allocation, Rejection, Webhook, from_fn};
use dps_benches::ALLOCATION_REQUEST;
use dps_types::{AllocationRequest, AllocationResponse, HubHostname};
use serde_json::{Value, json};

const MODEL: &str = "model";

fn allocation(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let body = serde_json::from_str::<Value>(ALLOCATION_REQUEST)
        .unwrap()
        .to_string()
        .into_bytes();
    let webhook = Webhook::new(from_fn(|request: &AllocationRequest| {
        let hub = by_model(request).ok_or_else(|| Rejection::new("no hub for this model"))?;
        Ok(Allocation::to(hub.clone()).payload("welcome"))
    }));
    let request = || {
        let request = http::Request::post("/").header("content-type", "application/json");
        request.body(&*body).unwrap()
    };
    // All three return the same answer.
    let reply = runtime.block_on(webhook.handle(request())).into_body();
    assert_eq!(reply, with_types(&body));
    assert_eq!(reply, with_values(&body));

    let mut group = criterion.benchmark_group("allocation");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("webhook", |bencher| {
        bencher
            .to_async(&runtime)
            .iter(|| webhook.handle(black_box(request())));
    });
    group.bench_function("types", |bencher| {
        bencher.iter(|| with_types(black_box(&body)));
    });
    group.bench_function("serde_json_value", |bencher| {
        bencher.iter(|| with_values(black_box(&body)));
    });
    group.finish();
}

fn by_model(request: &AllocationRequest) -> Option<&HubHostname> {
    let payload = request.device_runtime_context.payload.as_ref()?;
    let model = payload.get(MODEL)?.as_str()?;
    let mut hubs = request.linked_hubs.iter();
    hubs.find(|hub| hub.as_str().contains(model))
}

fn with_types(body: &[u8]) -> Vec<u8> {
    let request: AllocationRequest = serde_json::from_slice(body).unwrap();
    let mut response = AllocationResponse::new(by_model(&request).unwrap().clone());
    response.payload = Some("welcome".into());
    serde_json::to_vec(&response).unwrap()
}

fn with_values(body: &[u8]) -> Vec<u8> {
    let request: Value = serde_json::from_slice(body).unwrap();
    let model = request["deviceRuntimeContext"]["payload"][MODEL]
        .as_str()
        .unwrap();
    let mut hubs = request["linkedHubs"].as_array().unwrap().iter();
    let hub = hubs
        .find(|hub| hub.as_str().unwrap().contains(model))
        .unwrap();
    serde_json::to_vec(&json!({"iotHubHostName": hub, "payload": "welcome"})).unwrap()
}

criterion_group!(benches, allocation);
criterion_main!(benches);
