//! The stores compared: single calls, registrations of devices, and calls on a million enrollments.
//!
//! PostgreSQL is measured if `DPS_BENCH_POSTGRES` has the URL of an empty database, such as the one that scripts/postgres prints.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use dps_benches::{Service, TransportKind, cpu_time};
use dps_emulator::store::{
    Change, Expected, MemoryStore, PostgresStore, PostgresUrl, RedbStore, Store, Table,
};
use futures_util::future::join_all;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

const CALLERS: [usize; 2] = [1, 16];
const VALUE: usize = 400;
const PAGE: usize = 100;

/// How much is measured.
#[derive(Clone, Copy)]
struct Amount {
    calls: usize,
    devices: usize,
    enrollments: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = arguments.iter().filter(|it| !it.starts_with('-'));
    if filters
        .next()
        .is_some_and(|name| !"stores".contains(name.as_str()))
    {
        return;
    }
    // `cargo bench` passes `--bench`; `cargo test` does not, and then only checks that it runs.
    let amount = match arguments.iter().any(|it| it == "--bench") {
        true => Amount {
            calls: 4000,
            devices: 2000,
            enrollments: 1_000_000,
        },
        false => Amount {
            calls: 32,
            devices: 8,
            enrollments: 1000,
        },
    };
    Runtime::new().unwrap().block_on(measure(amount));
}

async fn measure(amount: Amount) {
    let folder = tempfile::tempdir().unwrap();
    let redb = RedbStore::open(folder.path().join("calls.redb"))
        .await
        .unwrap();
    calls("memory", &MemoryStore::new(), amount.calls).await;
    calls("redb", &redb, amount.calls).await;
    let redb = RedbStore::open(folder.path().join("devices.redb"))
        .await
        .unwrap();
    registrations("memory", Arc::new(MemoryStore::new()), amount.devices, None).await;
    registrations("redb", Arc::new(redb), amount.devices, None).await;
    let Ok(url) = std::env::var("DPS_BENCH_POSTGRES") else {
        return;
    };
    let server = Server::connect(&url).await;
    let open = async |schema: &str| {
        let url: PostgresUrl = format!("{url}?sslmode=disable&schema={schema}")
            .parse()
            .unwrap();
        PostgresStore::connect(&url).await.unwrap()
    };
    calls("postgres", &open("calls").await, amount.calls).await;
    let store = Arc::new(open("devices").await);
    registrations("postgres", store, amount.devices, Some(&server)).await;
    let store = open("large").await;
    server.fill("large", amount.enrollments).await;
    large("postgres", &store, amount.enrollments).await;
}

/// Calls of one emulator, one after another and several at once.
async fn calls(name: &str, store: &dyn Store, number: usize) {
    for callers in CALLERS {
        let key = |caller: usize, n: usize| format!("{callers}-{caller}-{n}");
        let create = async |caller, n| {
            let (key, value) = (key(caller, n), vec![7; VALUE]);
            let put = store.put(Table::Individuals, &key, Expected::Absent, value);
            assert!(put.await.unwrap());
        };
        print_rate(name, "create", callers, number, create).await;
        let get = async |caller, n| {
            assert!(
                store
                    .get(Table::Individuals, &key(caller, n))
                    .await
                    .unwrap()
                    .is_some()
            );
        };
        print_rate(name, "get", callers, number, get).await;
        // As a registration of a device of a group.
        let apply = async |caller, n| {
            let key = key(caller, n);
            let changes = [
                Change::put(Table::Registrations, &key, Expected::Absent, vec![7; VALUE]),
                Change::put(Table::Operations, &key, Expected::Absent, vec![]),
                Change::put(Table::Members, &key, Expected::Anything, vec![]),
            ];
            assert!(store.apply(&changes).await.unwrap());
        };
        print_rate(name, "apply, 3 keys", callers, number, apply).await;
        let replace = async |caller, n| {
            let (key, old) = (key(caller, n), [7; VALUE]);
            let put = store.put(
                Table::Individuals,
                &key,
                Expected::Exactly(&old),
                vec![8; VALUE],
            );
            assert!(put.await.unwrap());
        };
        print_rate(name, "replace", callers, number, replace).await;
        let scan = async |_, _| {
            store.scan(Table::Individuals, None, PAGE).await.unwrap();
        };
        print_rate(name, "scan, 100 entries", callers, number / 4, scan).await;
        let count = async |_, _| {
            store.count(Table::Individuals).await.unwrap();
        };
        print_rate(name, "count", callers, number / 4, count).await;
    }
}

/// Makes calls by several callers at once, and prints their rate.
async fn print_rate(
    store: &str,
    what: &str,
    callers: usize,
    number: usize,
    call: impl AsyncFn(usize, usize),
) {
    let each = number.div_ceil(callers);
    let began = Instant::now();
    let call = &call;
    let work = (0..callers).map(async |caller| {
        for n in 0..each {
            call(caller, n).await;
        }
    });
    join_all(work).await;
    let seconds = began.elapsed().as_secs_f64();
    let rate = (each * callers) as f64 / seconds;
    println!("{store:10}{what:20}{callers:3} at once: {rate:8.0} a second");
}

/// Devices that register once each over HTTPS, 16 at once.
async fn registrations(name: &str, store: Arc<dyn Store>, devices: usize, server: Option<&Server>) {
    let service = Service::start_with(|builder| builder.store(store))
        .await
        .unwrap();
    let server_before = server.map(Server::cpu_time);
    let (began, cpu) = (Instant::now(), cpu_time());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = (0..16).map(async |_| {
        loop {
            let n = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if n >= devices {
                return;
            }
            let who = service.with_key(&format!("toaster-{n}")).unwrap();
            service
                .client(TransportKind::Http, who)
                .register()
                .await
                .unwrap();
        }
    });
    join_all(work).await;
    let each = |time: Duration| time.as_secs_f64() * 1e3 / devices as f64;
    let rate = devices as f64 / began.elapsed().as_secs_f64();
    print!(
        "{name:10}registration: {rate:.0} a second, {:.2} ms of CPU here",
        each(cpu_time() - cpu)
    );
    match (server, server_before) {
        (Some(server), Some(before)) => {
            println!(
                ", {:.2} ms in PostgreSQL",
                each(server.cpu_time().saturating_sub(before))
            );
        }
        _ => println!(),
    }
}

/// Calls on a large table.
async fn large(name: &str, store: &dyn Store, size: u64) {
    let began = Instant::now();
    assert_eq!(store.count(Table::Individuals).await.unwrap(), size);
    println!(
        "{name:10}{size} enrollments: the first count in {:?}",
        began.elapsed()
    );
    let key = |n: u64| format!("device-{:07}", n * 982_451_653 % size);
    let get = async |_, n| {
        assert!(
            store
                .get(Table::Individuals, &key(n as u64))
                .await
                .unwrap()
                .is_some()
        );
    };
    print_rate(name, "get", 1, 1000, get).await;
    let page = async |_, n| {
        store
            .scan(Table::Individuals, Some(&key(n as u64)), PAGE)
            .await
            .unwrap();
    };
    print_rate(name, "scan, 100 entries", 1, 250, page).await;
    let count = async |_, _| {
        store.count(Table::Individuals).await.unwrap();
    };
    print_rate(name, "count", 1, 250, count).await;
    let create = async |_, n| {
        let key = format!("new-{n}");
        let put = store.put(Table::Individuals, &key, Expected::Absent, vec![7; VALUE]);
        assert!(put.await.unwrap());
    };
    print_rate(name, "create", 1, 1000, create).await;
    let began = Instant::now();
    let (mut read, mut after) = (0, None);
    loop {
        let page = store
            .scan(Table::Individuals, after.as_deref(), 1000)
            .await
            .unwrap();
        read += page.len();
        match page.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => break,
        }
    }
    println!(
        "{name:10}all {read} in pages of 1000: {:.1} s",
        began.elapsed().as_secs_f64()
    );
}

/// The server, for what is not done through a store.
struct Server {
    client: Client,
    /// The process that starts the others.
    process: u32,
}

impl Server {
    async fn connect(url: &str) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        let row = client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .unwrap();
        let backend = u32::try_from(row.get::<_, i32>(0)).unwrap();
        Self {
            client,
            process: stat(backend)[1] as u32,
        }
    }

    /// Creates enrollments of 400 bytes each, without the checks of an emulator.
    async fn fill(&self, schema: &str, number: u64) {
        let began = Instant::now();
        let statements = format!(
            "INSERT INTO {schema}.dps_record (tbl, key, value)
             SELECT 'individuals', convert_to('device-' || lpad(n::text, 7, '0'), 'UTF8'),
                    decode(repeat(md5(n::text), 25), 'hex')
             FROM generate_series(0, {number} - 1) n;
             INSERT INTO {schema}.dps_count VALUES ('individuals', 0, {number});
             ANALYZE {schema}.dps_record"
        );
        self.client.batch_execute(&statements).await.unwrap();
        let query = format!(
            "SELECT pg_total_relation_size('{schema}.dps_record'), pg_indexes_size('{schema}.dps_record')"
        );
        let row = self.client.query_one(&query, &[]).await.unwrap();
        let mib = |column| row.get::<_, i64>(column) >> 20;
        println!(
            "postgres  {number} enrollments created by SQL in {:.1} s: {} MiB, {} of them the index",
            began.elapsed().as_secs_f64(),
            mib(0),
            mib(1)
        );
        // What `count` would cost without counters.
        for text in ["VACUUM", "EXPLAIN ANALYZE SELECT count(*) FROM"] {
            let table = format!("{text} {schema}.dps_record");
            for message in self.client.simple_query(&table).await.unwrap() {
                if let tokio_postgres::SimpleQueryMessage::Row(row) = message
                    && let Some(line) = row.get(0).filter(|it| it.contains("Execution Time"))
                {
                    println!("postgres  count(*) after VACUUM: {line}");
                }
            }
        }
    }

    /// The CPU time of all processes of the server.
    fn cpu_time(&self) -> Duration {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let ids = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
        let ticks: u64 = ids
            .map(stat)
            .filter(|it| it.get(1) == Some(&u64::from(self.process)))
            .map(|it| it[11] + it[12])
            .sum();
        // What ended connections have used.
        let ended = stat(self.process);
        Duration::from_millis((ticks + ended[13] + ended[14]) * 10)
    }
}

/// The numbers of /proc/ID/stat after the name of the program, from the state on (as 0); empty if the process has ended.
fn stat(process: u32) -> Vec<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let numbers = text
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    numbers.map(|it| it.parse().unwrap_or(0)).collect()
}
