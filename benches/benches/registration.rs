//! Registrations over each transport, each with a new client and connection, against an emulator in this process: one at a
//! time, and a fleet concurrently. For comparison, the same number of rustls handshakes, in memory and over sockets, and of the
//! same requests over HTTPS without our code. A single registration is measured in wall-clock time including its waits; a fleet
//! in CPU time of devices, network and emulator.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "registration/handshake.rs"]
mod handshake;
#[path = "registration/https.rs"]
mod https;

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use dps_benches::{Service, TransportKind, cpu_time};
use dps_device::X509Attestation;
use futures_util::future::join_all;
use tokio::runtime::Runtime;

use handshake::{Handshake, HandshakeServer};

const DEVICES: usize = 256;

fn one(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let service = runtime.block_on(Service::start()).unwrap();
    let certificate = service.with_certificate("heatpump-1").unwrap();
    let handshake = Handshake::new();

    let mut group = criterion.benchmark_group("registration");
    group
        .sample_size(50)
        .measurement_time(Duration::from_secs(3));
    for transport in TransportKind::ALL {
        group.bench_function(format!("symmetric_key_{}", transport.name()), |bencher| {
            bencher.to_async(&runtime).iter(async || {
                let who = service.with_key("toaster-1").unwrap();
                service.client(transport, who).register().await.unwrap()
            });
        });
    }
    group.bench_function("x509_http", |bencher| {
        bencher.to_async(&runtime).iter(async || {
            let client = service.client(TransportKind::Http, certificate.clone());
            client.register().await.unwrap()
        });
    });
    group.bench_function("tls_handshake_alone", |bencher| {
        bencher.iter(|| handshake.perform());
    });
    group.finish();
}

fn fleet(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let service = Arc::new(runtime.block_on(Service::start()).unwrap());
    let certificates = (0..DEVICES).map(|n| service.with_certificate(&format!("heatpump-{n}")));
    let certificates: Vec<X509Attestation> = certificates.map(Result::unwrap).collect();
    let handshake = Handshake::new();
    let server = runtime.block_on(HandshakeServer::start(&handshake));
    let port = runtime.block_on(https::serve(&handshake));

    let mut group = criterion.benchmark_group("fleet");
    group.throughput(Throughput::Elements(DEVICES as u64));
    group.sampling_mode(SamplingMode::Flat);
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(4));
    for transport in TransportKind::ALL {
        group.bench_function(format!("symmetric_key_{}", transport.name()), |bencher| {
            bencher.to_async(&runtime).iter_custom(|times| {
                at_once(times, |n| {
                    let service = Arc::clone(&service);
                    async move {
                        let who = service.with_key(&format!("toaster-{n}")).unwrap();
                        service.client(transport, who).register().await.unwrap();
                    }
                })
            });
        });
    }
    group.bench_function("x509_http", |bencher| {
        bencher.to_async(&runtime).iter_custom(|times| {
            at_once(times, |n| {
                let client = service.client(TransportKind::Http, certificates[n].clone());
                async move {
                    client.register().await.unwrap();
                }
            })
        });
    });
    group.bench_function("tls_handshakes_alone", |bencher| {
        bencher.to_async(&runtime).iter_custom(|times| {
            at_once(times, |_| {
                let handshake = handshake.clone();
                async move { handshake.perform() }
            })
        });
    });
    group.bench_function("tls_handshakes_over_sockets", |bencher| {
        bencher.to_async(&runtime).iter_custom(|times| {
            at_once(times, |_| {
                let (handshake, address) = (handshake.clone(), server.address());
                async move { handshake.perform_with(address).await }
            })
        });
    });
    group.bench_function("https_requests_alone", |bencher| {
        bencher.to_async(&runtime).iter_custom(|times| {
            at_once(times, |_| {
                let handshake = handshake.clone();
                async move { https::register(&handshake, "localhost", port).await }
            })
        });
    });
    group.finish();
}

/// Registers all devices concurrently, this number of times. Returns the CPU time of all sides.
async fn at_once<F>(times: u64, device: impl Fn(usize) -> F) -> Duration
where
    F: Future<Output = ()> + Send + 'static,
{
    let began = cpu_time();
    for _ in 0..times {
        for ended in join_all((0..DEVICES).map(|n| tokio::spawn(device(n)))).await {
            ended.unwrap();
        }
    }
    cpu_time() - began
}

criterion_group!(benches, one, fleet);
criterion_main!(benches);
