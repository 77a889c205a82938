//! Calls to the stores: in memory, on disk, and the client's side of PostgreSQL.

use dps_emulator::store::{Change, Expected, MemoryStore, PostgresStore, RedbStore, Store, Table};
use tokio::runtime::Runtime;

use crate::meter::{Meter, Side, Thread};
use crate::server::runtime;

const RECORDS: usize = 1000;
const VALUE: usize = 400;
const PAGE: usize = 100;
/// The calls in one count.
const CALLS: u32 = 16;
/// At least as many as a meter takes samples.
const SAMPLES: usize = 6;

/// PostgreSQL is measured if there is the URL of a database.
pub(crate) fn measure(meter: &Meter, postgres: Option<&str>) {
    let runtime = runtime();
    if meter.selects("store/memory") {
        calls(meter, &runtime, "memory", &MemoryStore::new());
    }
    if meter.selects("store/redb") {
        let dir = tempfile::tempdir().unwrap();
        let open = RedbStore::open(dir.path().join("store.redb"));
        let store = runtime.block_on(open).unwrap();
        calls(meter, &runtime, "redb", &store);
    }
    if let Some(url) = postgres.filter(|_| meter.selects("store/postgres")) {
        let url = url.parse().unwrap();
        let store = runtime.block_on(PostgresStore::connect(&url)).unwrap();
        calls(meter, &runtime, "postgres", &store);
    }
}

fn calls(meter: &Meter, runtime: &Runtime, name: &str, store: &dyn Store) {
    let keys: Vec<String> = (0..RECORDS).map(|n| format!("record-{n}")).collect();
    for keys in keys.chunks(PAGE) {
        let value = || vec![7; VALUE];
        let create = |key| Change::put(Table::Individuals, key, Expected::Anything, value());
        let changes: Vec<Change<'_>> = keys.iter().map(|key| create(key)).collect();
        assert!(runtime.block_on(store.apply(&changes)).unwrap());
    }
    let blocking = Thread::BlockingOf(runtime.handle());
    let sides = [Side("", Thread::Main), Side("", blocking)];
    // Other processes may have used the database.
    let new_key = |sample, n| format!("{:08}-{sample}-{n}", std::process::id());
    let new_keys = |sample| (0..CALLS).map(|n| new_key(sample, n)).collect();
    let new_keys: Vec<Vec<String>> = (0..SAMPLES).map(new_keys).collect();
    let sample = |operation: &str, call: &dyn Fn(&str)| {
        let name = format!("store/{name}/{operation}");
        meter.sample(&name, &sides, CALLS, |sample| {
            for key in &new_keys[sample] {
                call(key);
            }
        });
    };
    sample("get", &|_| {
        let found = runtime.block_on(store.get(Table::Individuals, "record-500"));
        assert!(found.unwrap().is_some());
    });
    // As a registration of a device of a group.
    sample("apply", &|key| {
        let changes = [
            Change::put(Table::Registrations, key, Expected::Absent, vec![7; VALUE]),
            Change::put(Table::Operations, key, Expected::Absent, vec![]),
            Change::put(Table::Members, key, Expected::Anything, vec![]),
        ];
        assert!(runtime.block_on(store.apply(&changes)).unwrap());
    });
    sample("scan_100", &|_| {
        let page = runtime.block_on(store.scan(Table::Individuals, None, PAGE));
        assert_eq!(page.unwrap().len(), PAGE);
    });
}
