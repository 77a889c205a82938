//! The segments of a message queue on disk: no bytes make it panic, each listed message can be read, and new messages are kept.
#![no_main]

use std::fs;

use dps_device::{FileQueue, MessageQueue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, u8, u16, &[u8])| {
    let (offset, change, length, bytes) = input;
    let (first, second) = bytes.split_at(usize::from(length).min(bytes.len()));
    let directory = tempfile::tempdir().expect("a directory");
    let path = |id: u64| directory.path().join(format!("{id:020}.queue"));
    fs::write(path(1), first).expect("written");
    fs::write(path(2), second).expect("written");
    block_on(async {
        let queue = FileQueue::new(directory.path());
        for (number, length) in queue.load().await.expect("readable") {
            let message = queue.get(number).await.expect("readable");
            assert_eq!(message.map(|it| it.len()), Some(length));
        }
        queue.push(u64::MAX, vec![7; 100]).await.expect("written");
        assert_eq!(queue.get(u64::MAX).await.expect("readable"), Some(vec![7; 100]));
    });

    // A changed byte in a segment of the queue itself: what remains is unchanged.
    let directory = tempfile::tempdir().expect("a directory");
    block_on(async {
        let queue = FileQueue::new(directory.path());
        for number in 1..4 {
            queue.push(number, vec![number as u8; 10]).await.expect("written");
        }
    });
    let path = directory.path().join(format!("{:020}.queue", 1));
    let mut bytes = fs::read(&path).expect("readable");
    let offset = usize::from(offset) % bytes.len();
    bytes[offset] ^= change;
    fs::write(&path, bytes).expect("written");
    block_on(async {
        let queue = FileQueue::new(directory.path());
        let listed = queue.load().await.expect("readable");
        assert_eq!(listed.len(), if change == 0 { 3 } else { offset / 30 });
        for (number, _) in listed {
            let message = queue.get(number).await.expect("readable");
            assert_eq!(message, Some(vec![number as u8; 10]));
        }
    });
});

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}
