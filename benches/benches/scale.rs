//! A thousand enrollments compared with a million: creation, lookups, pages, resident memory, restart. Once with a data directory,
//! where lookups and pages are measured after a restart, and once in memory.
//!
//! Each emulator is a separate process, used over HTTPS. Requests to the small and the large one alternate, so that other load on
//! the machine affects both.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "scale/host.rs"]
mod host;
#[path = "scale/operator.rs"]
mod operator;

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::runtime::Runtime;

use host::Host;
use operator::Operator;

const SMALL: usize = 1000;
const CONNECTIONS: usize = 16;
/// The number of measured lookups and pages.
const LOOKUPS: usize = 10_000;
const PAGES: usize = 1000;
/// The page size.
const PAGE: usize = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    if filters
        .next()
        .is_some_and(|name| !"scale".contains(name.as_str()))
    {
        return;
    }
    // `cargo bench` passes `--bench`; `cargo test` does not, and then only checks that it runs.
    let (large, less) = match arguments.iter().any(|argument| argument == "--bench") {
        true => (1_000_000, 1),
        false => (2000, 100),
    };
    let runtime = Runtime::new().unwrap();
    let (small_dir, large_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dirs in [Some([small_dir.path(), large_dir.path()]), None] {
        runtime.block_on(measure(large, less, dirs));
    }
}

async fn measure(large: usize, less: usize, dirs: Option<[&Path; 2]>) {
    let place = dirs.map_or("in memory", |_| "in a data directory");
    println!("{SMALL} and {large} enrollments {place}");
    let sizes = [SMALL, large];
    let mut hosts = Vec::new();
    for (which, size) in sizes.into_iter().enumerate() {
        let host = Host::start(dirs.map(|dirs| dirs[which]));
        let took = fill(&host, size).await.as_secs_f64();
        let rate = size as f64 / took;
        println!(
            "{:28}{size:9} in {took:.1} s, {rate:.0} a second",
            "created"
        );
        hosts.push(host);
    }
    print_memory("resident, all created", &hosts, sizes);
    if let Some(dirs) = dirs {
        hosts.into_iter().for_each(Host::stop);
        hosts = start("start after an end in order", dirs, sizes);
    }
    compare(&hosts, sizes, less).await;
    print_memory("resident, all read", &hosts, sizes);
    hosts.into_iter().for_each(Host::kill);
    if let Some(dirs) = dirs {
        let hosts = start("start after a crash", dirs, sizes);
        hosts.into_iter().for_each(Host::stop);
    }
}

fn start(caption: &str, dirs: [&Path; 2], sizes: [usize; 2]) -> Vec<Host> {
    let starts = dirs.into_iter().zip(sizes).map(|(dir, size)| {
        let host = Host::start(Some(dir));
        let ms = host.started_in.as_secs_f64() * 1e3;
        println!("{caption:28}{size:9}: {ms:.1} ms");
        host
    });
    starts.collect()
}

fn print_memory(caption: &str, hosts: &[Host], sizes: [usize; 2]) {
    for (host, size) in hosts.iter().zip(sizes) {
        let (now, most) = host.memory();
        println!("{caption:28}{size:9}: {now} MiB, at most {most} MiB");
    }
}

/// Creates this number of enrollments, ten per request, over several connections.
async fn fill(host: &Host, size: usize) -> Duration {
    let operators = join_all((0..CONNECTIONS).map(|_| Operator::connect(host))).await;
    let began = Instant::now();
    let work = operators
        .into_iter()
        .enumerate()
        .map(|(which, mut operator)| async move {
            for first in (which * 10..size).step_by(CONNECTIONS * 10) {
                operator.create(first..(first + 10).min(size)).await;
            }
        });
    join_all(work).await;
    began.elapsed()
}

/// Sends requests to both alternately.
async fn compare(hosts: &[Host], sizes: [usize; 2], less: usize) {
    let mut operators = join_all(hosts.iter().map(Operator::connect)).await;
    let mut deep = Vec::new();
    for (operator, size) in operators.iter_mut().zip(sizes) {
        let (count, token) = walk(operator, size * 9 / 10).await;
        assert_eq!(count, size, "everything is listed");
        deep.push(token);
    }
    let mut lookups = [Vec::new(), Vec::new()];
    let mut first_pages = [Vec::new(), Vec::new()];
    let mut deep_pages = [Vec::new(), Vec::new()];
    // A prime step reaches every index.
    for turn in 0..LOOKUPS / less {
        for (which, operator) in operators.iter_mut().enumerate() {
            let number = turn * 982_451_653 % sizes[which];
            lookups[which].push(timed(operator.lookup(number)).await);
        }
    }
    for _ in 0..PAGES / less {
        for (which, operator) in operators.iter_mut().enumerate() {
            first_pages[which].push(timed(operator.page(PAGE, None)).await);
            let token = Some(deep[which].as_str());
            deep_pages[which].push(timed(operator.page(PAGE, token)).await);
        }
    }
    print_ratio("lookup", lookups);
    print_ratio("page, the first", first_pages);
    print_ratio("page, at nine tenths", deep_pages);
}

/// Reads the whole list. Returns the number of items, and the token of the page after this number of items.
async fn walk(operator: &mut Operator, wanted: usize) -> (usize, String) {
    let (mut count, mut token, mut found) = (0, None, None);
    loop {
        let page = operator.page(PAGE, token.as_deref()).await;
        count += page.items;
        token = page.next;
        if count == wanted {
            found.clone_from(&token);
        }
        if token.is_none() {
            return (count, found.unwrap());
        }
    }
}

async fn timed<T>(work: impl Future<Output = T>) -> Duration {
    let began = Instant::now();
    work.await;
    began.elapsed()
}

fn print_ratio(what: &str, [small, large]: [Vec<Duration>; 2]) {
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    let (small, large) = (median(small), median(large));
    println!(
        "{what:28}{small:9.0} µs, {large:.0} µs: {:.2} times",
        large / small
    );
}
