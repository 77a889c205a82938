//! Runs the conformance suite on every store, and tests what is particular to a file.

mod crash;
mod file;
mod full_disk;
mod model;

use std::future::poll_fn;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use super::{Change, Expected, MemoryStore, RedbStore, Store, Table, conformance};

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_conforms() {
    conformance(async || MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_redb_store_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let files = std::sync::atomic::AtomicUsize::new(0);
    conformance(async || {
        let number = files.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        open(&dir.path().join(format!("{number}.redb"))).await
    })
    .await;
}

/// A store behind a pointer is a store.
#[tokio::test(flavor = "multi_thread")]
async fn pointers_to_stores_conform() {
    let memory = MemoryStore::new;
    conformance(async || Box::new(memory()) as Box<dyn Store>).await;
    conformance(async || Arc::new(memory()) as Arc<dyn Store>).await;
}

/// Starts a call, and returns its output if it is ready.
pub(super) async fn poll_once<F: Future + Unpin>(call: &mut F) -> Option<F::Output> {
    poll_fn(|context| match Pin::new(&mut *call).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

async fn open(path: &Path) -> RedbStore {
    RedbStore::open(path).await.unwrap()
}

#[test]
fn debug_shows_no_values() {
    let shown = format!(
        "{:?}",
        Change::put(
            Table::Groups,
            "g",
            Expected::Exactly(b"key=QUJD"),
            b"key=QUJD".to_vec()
        )
    );
    assert!(
        shown.contains("Put(8 bytes)") && !shown.contains("QUJD") && !shown.contains("107"),
        "{shown}"
    );
}
