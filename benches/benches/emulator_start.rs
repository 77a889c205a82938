//! The time until an emulator answers: in memory, in a new data directory, and in an existing one. Its shutdown is not measured.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use dps_emulator::{Emulator, EmulatorBuilder};
use tokio::runtime::Runtime;

fn emulator_start(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("emulator_start");
    group.sampling_mode(SamplingMode::Flat);
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(3));
    group.bench_function("in_memory", |bencher| {
        bencher
            .to_async(&runtime)
            .iter_custom(|times| starts(times, Emulator::builder));
    });
    group.bench_function("new_data_dir", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |times| {
            let mut total = Duration::ZERO;
            for _ in 0..times {
                let dir = tempfile::tempdir().unwrap();
                total += starts(1, || in_dir(dir.path())).await;
            }
            total
        });
    });
    let dir = tempfile::tempdir().unwrap();
    group.bench_function("data_dir_of_an_earlier_run", |bencher| {
        bencher.to_async(&runtime).iter_custom(async |times| {
            starts(1, || in_dir(dir.path())).await;
            starts(times, || in_dir(dir.path())).await
        });
    });
    group.finish();
}

fn in_dir(dir: &Path) -> EmulatorBuilder {
    Emulator::builder().data_dir(dir)
}

async fn starts(times: u64, builder: impl Fn() -> EmulatorBuilder) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..times {
        let began = Instant::now();
        let emulator = builder().start().await.unwrap();
        total += began.elapsed();
        emulator.shutdown().await;
    }
    total
}

criterion_group!(benches, emulator_start);
criterion_main!(benches);
