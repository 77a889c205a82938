//! The cost of instances in one emulator: the time to create one, and the heap that 1,000 keep while they are idle.

use std::alloc::System;
use std::error::Error;
use std::time::{Duration, Instant};

use dps_emulator::{Emulator, EmulatorBuilder, InstanceHandle, InstanceOptions, LinkedHub};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const INSTANCES: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = arguments.iter().filter(|it| !it.starts_with('-'));
    if filters
        .next()
        .is_some_and(|it| !"instances".contains(it.as_str()))
    {
        return Ok(());
    }
    // `cargo bench` passes `--bench`; `cargo test` does not, and then only checks that it runs.
    let count = match arguments.iter().any(|it| it == "--bench") {
        true => INSTANCES,
        false => 3,
    };
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        measure("in memory", Emulator::builder(), count).await?;
        let dir = tempfile::tempdir()?;
        let on_disk = Emulator::builder().data_dir(dir.path());
        measure("in a data directory", on_disk, count.min(100)).await
    })
}

async fn measure(
    caption: &str,
    builder: EmulatorBuilder,
    count: usize,
) -> Result<(), Box<dyn Error>> {
    let mut limits = dps_emulator::Limits::default();
    limits.instances = 100_000;
    let emulator = builder.limits(limits).start().await?;
    // What the first one initializes does not count.
    drop(create(&emulator, "the-first").await?);
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let (tasks_before, threads_before) = (tasks(), threads());
    let region = Region::new(ALLOCATOR);
    let mut times = Vec::with_capacity(count);
    for number in 0..count {
        let began = Instant::now();
        drop(create(&emulator, &format!("suite-{number}")).await?);
        times.push(began.elapsed());
    }
    let change = region.change();
    let kept = change.bytes_allocated as i64 - change.bytes_deallocated as i64
        + change.bytes_reallocated as i64;
    times.sort_unstable();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{count} instances {caption}, each with one hub and one policy:");
    println!(
        "  creating one: {:.2} ms (median), {:.2} ms (most)",
        milliseconds(times[count / 2]),
        milliseconds(times[count - 1]),
    );
    println!(
        "  kept for each: {:.1} KiB of heap; all together: {} tasks, {} threads",
        kept as f64 / 1024.0 / count as f64,
        tasks().saturating_sub(tasks_before),
        threads().saturating_sub(threads_before),
    );
    emulator.shutdown().await;
    Ok(())
}

async fn create(emulator: &Emulator, name: &str) -> Result<InstanceHandle, Box<dyn Error>> {
    let hub: LinkedHub = format!("{name}.azure-devices.net").parse()?;
    let options = InstanceOptions::new(name.parse()?).link_hub(hub);
    Ok(emulator.create_instance(options).await?)
}

/// The threads of this process; 0 where the system does not list them.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
