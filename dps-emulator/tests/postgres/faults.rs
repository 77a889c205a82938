//! What callers see when connections are cut, transactions fail and the server restarts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dps_emulator::store::{
    Change, Expected, PostgresStore, PostgresUrl, Store, StoreErrorKind, Table,
};
use tokio::task::JoinSet;

use crate::proxy::{Cut, Proxy};
use crate::server::{Server, connect, new_schema, new_url, parse, shared};

const STORE: &str = "the store works";
const TASKS: usize = 6;

/// The time after which a call surely hangs.
const HANGS: Duration = Duration::from_secs(90);

/// A schema of the shared server, behind a proxy.
async fn behind_proxy(parameters: &str) -> (Proxy, PostgresUrl) {
    let proxy = Proxy::start(shared().port()).await;
    let url = shared().url(&format!(
        "sslmode=disable&schema={}{parameters}",
        new_schema()
    ));
    let url = url.replace(
        &format!(":{}/", shared().port()),
        &format!(":{}/", proxy.port),
    );
    (proxy, parse(&url))
}

/// Creates pairs of keys in one call each, and then replaces both values in another one. Returns the pairs with the last value that
/// was acknowledged, and the number of calls with an unknown outcome.
async fn write_pairs(store: Arc<PostgresStore>, task: usize, pairs: usize) -> Written {
    let mut written = Written::default();
    for number in 0..pairs {
        let (a, b) = keys(task, number);
        let create = [
            Change::put(Table::Individuals, &a, Expected::Absent, b"1".to_vec()),
            Change::put(Table::Groups, &b, Expected::Absent, b"1".to_vec()),
        ];
        if !written.call(&store, &create, task, number, 1).await {
            continue;
        }
        let replace = [
            Change::put(Table::Groups, &b, Expected::Exactly(b"1"), b"2".to_vec()),
            Change::put(
                Table::Individuals,
                &a,
                Expected::Exactly(b"1"),
                b"2".to_vec(),
            ),
            Change::put(Table::Operations, &a, Expected::Anything, vec![]),
        ];
        written.call(&store, &replace, task, number, 2).await;
    }
    written
}

#[derive(Default)]
struct Written {
    acknowledged: BTreeMap<(usize, usize), u8>,
    unknown: usize,
}

impl Written {
    /// Makes the changes. False if their outcome is unknown.
    async fn call(
        &mut self,
        store: &PostgresStore,
        changes: &[Change<'_>],
        task: usize,
        number: usize,
        value: u8,
    ) -> bool {
        let done = tokio::time::timeout(HANGS, store.apply(changes)).await;
        match done.expect("no call waits past its deadline") {
            Ok(done) => {
                assert!(done, "only this task uses the keys");
                self.acknowledged.insert((task, number), value);
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:#}");
                self.unknown += 1;
                false
            }
        }
    }
}

fn keys(task: usize, number: usize) -> (String, String) {
    (format!("{task}-{number}-a"), format!("{task}-{number}-b"))
}

/// Starts the writers.
fn writers(store: &Arc<PostgresStore>, pairs: usize) -> JoinSet<Written> {
    let mut writers = JoinSet::new();
    for task in 0..TASKS {
        writers.spawn(write_pairs(Arc::clone(store), task, pairs));
    }
    writers
}

/// Everything that was acknowledged is there, nothing is half made, and the keys are counted.
async fn check(store: &PostgresStore, pairs: usize, written: &[Written]) {
    for task in 0..TASKS {
        for number in 0..pairs {
            let (a, b) = keys(task, number);
            let a = store.get(Table::Individuals, &a).await.expect(STORE);
            let b = store.get(Table::Groups, &b).await.expect(STORE);
            assert_eq!(a, b, "a change is half made");
            let found = a.map_or(0, |value| value[0] - b'0');
            let acknowledged = written
                .iter()
                .find_map(|it| it.acknowledged.get(&(task, number)));
            assert!(
                found >= acknowledged.copied().unwrap_or(0),
                "a change is lost"
            );
        }
    }
    for table in [Table::Individuals, Table::Groups, Table::Operations] {
        let keys = store.scan(table, None, usize::MAX).await.expect(STORE);
        assert_eq!(store.count(table).await.expect(STORE), keys.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_cut_connections() {
    let (proxy, url) = behind_proxy("&max_connections=4").await;
    let store = connect(&url).await;
    // A new connection requires about 4000 bytes in each direction.
    proxy.set(Cut::Within(12_000));
    let written = writers(&Arc::new(store), 25).join_all().await;
    proxy.set(Cut::Never);
    assert!(proxy.cuts.load(Ordering::SeqCst) > 0);
    assert!(
        written.iter().any(|it| it.unknown > 0),
        "nothing was disturbed"
    );
    check(&connect(&url).await, 25, &written).await;
}

/// The answer to a commit is lost. It must not be reported as success, whether the commit was executed or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_during_the_commit_is_an_error() {
    let (proxy, url) = behind_proxy("&max_connections=1").await;
    let store = connect(&url).await;
    for (cut, key, expected) in [
        (Cut::BeforeCommit, "before", None),
        (Cut::AfterCommit, "after", Some(b"1".to_vec())),
    ] {
        proxy.set(cut);
        let put = store.put(Table::Meta, key, Expected::Absent, b"1".to_vec());
        let error = put.await.expect_err("the outcome is unknown");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        let shown = format!("{error:#}");
        assert!(
            shown.starts_with("the connection to PostgreSQL was lost before the answer"),
            "{shown}"
        );
        proxy.set(Cut::Never);
        assert_eq!(
            store.get(Table::Meta, key).await.expect(STORE),
            expected,
            "{cut:?}"
        );
    }
}

/// PostgreSQL ends about one transaction in ten, some of them at the commit. No caller notices it. The numbers of the calls that fail
/// are the same in every run.
#[tokio::test(flavor = "multi_thread")]
async fn serialization_failures_are_repeated() {
    let url = new_url("&timeout=60&max_connections=4");
    let store = connect(&url).await;
    let admin = shared().admin().await;
    let schema = url.schema();
    admin
        .execute(&format!(
            "CREATE SEQUENCE {schema}.calls;
             CREATE FUNCTION {schema}.fails(call bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
                 SELECT hashint8(call)::bigint % 10 = 0
             $$;
             CREATE FUNCTION {schema}.fail() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE
                 call bigint := nextval('{schema}.calls');
             BEGIN
                 IF {schema}.fails(call) THEN
                     RAISE EXCEPTION 'injected' USING ERRCODE = CASE call % 2 WHEN 0 THEN '40001' ELSE '40P01' END;
                 END IF;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER fail AFTER INSERT OR UPDATE OR DELETE ON {schema}.dps_record
                 FOR EACH STATEMENT EXECUTE FUNCTION {schema}.fail();
             CREATE CONSTRAINT TRIGGER fail_at_commit AFTER INSERT OR UPDATE ON {schema}.dps_record
                 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {schema}.fail()"
        ))
        .await;
    let written = writers(&Arc::new(store), 15).join_all().await;
    for it in &written {
        assert_eq!(it.unknown, 0);
        assert_eq!(it.acknowledged.len(), 15);
    }
    let failed = format!(
        "SELECT count(*) FROM generate_series(1, (SELECT last_value FROM {schema}.calls)) AS call WHERE {schema}.fails(call)"
    );
    let failed = admin.client.query_one(&failed, &[]).await.expect(STORE);
    assert!(failed.get::<_, i64>(0) > 10, "{failed:?}");
    check(&connect(&url).await, 15, &written).await;
}

/// The server crashes and starts again, three times. Reads wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_restarts_of_the_server() {
    let server = Server::start(&[]);
    let url = parse(&server.url("sslmode=disable&timeout=60&max_connections=4"));
    let store = Arc::new(connect(&url).await);
    let mut readers = JoinSet::new();
    let reading = Arc::clone(&store);
    readers.spawn(async move {
        loop {
            reading
                .count(Table::Groups)
                .await
                .expect("reads wait for the server");
        }
    });
    let writers = writers(&store, 60);
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.command("restart").await;
    }
    let written = writers.join_all().await;
    readers.abort_all();
    check(&store, 60, &written).await;
}

/// A call that arrives while the server is stopped is made when it has started.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_waits_for_a_server_that_is_stopped() {
    let server = Server::start(&[]);
    let store = connect(&parse(&server.url("timeout=60"))).await;
    assert!(
        store
            .put(Table::Meta, "k", Expected::Absent, b"1".to_vec())
            .await
            .expect(STORE)
    );
    server.command("stop").await;
    let put = store.put(Table::Meta, "k", Expected::Exactly(b"1"), b"2".to_vec());
    let (done, ()) = tokio::join!(put, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.command("start").await;
    });
    assert!(done.expect("it waits for the server"));
    assert_eq!(
        store.get(Table::Meta, "k").await.expect(STORE),
        Some(b"2".to_vec())
    );
}
