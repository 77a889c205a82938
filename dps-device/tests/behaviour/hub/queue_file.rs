//! The message queue on disk: restarts, a program that is killed, and damage.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use dps_device::{FileQueue, Message, MessageQueue};

use super::device::{Device, quick};
use super::peer::HubPeer;
use super::reconnect::unreachable_hub;
use super::set_up;
use crate::mqtt::{MqttKind, SECOND};

const CHILD: &str = "DPS_TEST_QUEUE";
const TEST: &str =
    "hub::queue_file::a_program_that_is_killed_leaves_every_message_that_was_accepted";

async fn numbers(directory: &Path) -> Vec<u64> {
    let queue = FileQueue::new(directory);
    let loaded = queue.load().await.unwrap();
    loaded.into_iter().map(|(number, _)| number).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn messages_and_removals_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let queue = FileQueue::new(directory.path().join("queue"));
    assert_eq!(queue.load().await.unwrap(), []);
    for number in 1..=4 {
        queue.push(number, vec![number as u8; 10]).await.unwrap();
    }
    queue.remove(1).await.unwrap();
    queue.remove(3).await.unwrap();
    drop(queue);
    let queue = FileQueue::new(directory.path().join("queue"));
    assert_eq!(queue.load().await.unwrap(), [(2, 10), (4, 10)]);
    assert_eq!(queue.get(2).await.unwrap(), Some(vec![2; 10]));
    assert_eq!(queue.get(3).await.unwrap(), None);
    queue.push(5, vec![5; 3]).await.unwrap();
    drop(queue);
    assert_eq!(numbers(&directory.path().join("queue")).await, [2, 4, 5]);
}

/// It would be read as damage, and hide the messages after it.
#[tokio::test]
async fn a_message_that_could_not_be_read_again_is_not_stored() {
    let directory = tempfile::tempdir().unwrap();
    let queue = FileQueue::new(directory.path());
    queue.push(1, vec![1; 1024 * 1024]).await.unwrap();
    let error = queue.push(2, vec![2; 1024 * 1024 + 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    queue.push(3, vec![3; 10]).await.unwrap();
    drop(queue);
    assert_eq!(numbers(directory.path()).await, [1, 3]);
}

#[tokio::test]
async fn files_are_deleted_when_their_messages_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let queue = FileQueue::new(directory.path());
    for number in 1..=40 {
        queue.push(number, vec![7; 100_000]).await.unwrap();
    }
    let most = files(directory.path()).len();
    assert!((3..10).contains(&most), "{most}");
    for number in 1..=40 {
        queue.remove(number).await.unwrap();
    }
    assert_eq!(files(directory.path()).len(), 1);
    drop(queue);
    assert_eq!(numbers(directory.path()).await, [0; 0]);
    assert!(files(directory.path()).is_empty());
}

/// A segment that has removals stays as long as the messages that they remove.
#[tokio::test]
async fn a_removal_outlives_the_message() {
    let directory = tempfile::tempdir().unwrap();
    let queue = FileQueue::new(directory.path());
    queue.push(1, vec![1; 10]).await.unwrap();
    queue.push(2, vec![2; 1_000_000]).await.unwrap();
    queue.push(3, vec![3; 1_000_000]).await.unwrap();
    queue.push(4, vec![4; 10]).await.unwrap();
    for number in [2, 3, 4] {
        queue.remove(number).await.unwrap();
    }
    drop(queue);
    assert_eq!(numbers(directory.path()).await, [1]);
}

#[tokio::test]
async fn a_number_that_is_used_again_keeps_no_file_after_its_removal() {
    let directory = tempfile::tempdir().unwrap();
    for body in [b"a", b"b"] {
        let queue = FileQueue::new(directory.path());
        queue.push(1, body.to_vec()).await.unwrap();
    }
    let queue = FileQueue::new(directory.path());
    assert_eq!(queue.get(1).await.unwrap().as_deref(), Some(&b"b"[..]));
    queue.remove(1).await.unwrap();
    drop(queue);
    assert_eq!(numbers(directory.path()).await, [0; 0]);
    assert_eq!(files(directory.path()).len(), 0);
}

/// Every prefix of a file is what a power failure may leave.
#[tokio::test]
async fn a_file_with_an_incomplete_end_keeps_the_records_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let queue = FileQueue::new(directory.path());
    for number in 1..=3 {
        queue.push(number, vec![number as u8; 20]).await.unwrap();
    }
    drop(queue);
    let [file] = &files(directory.path())[..] else {
        panic!("one file")
    };
    let whole = fs::read(file).unwrap();
    assert_eq!(whole.len(), 3 * 40);
    for end in 0..whole.len() {
        let copy = tempfile::tempdir().unwrap();
        fs::write(copy.path().join(file.file_name().unwrap()), &whole[..end]).unwrap();
        let expected: Vec<u64> = (1..=(end / 40) as u64).collect();
        assert_eq!(numbers(copy.path()).await, expected, "{end}");
        // It can be used.
        let queue = FileQueue::new(copy.path());
        queue.load().await.unwrap();
        queue.push(9, vec![9; 5]).await.unwrap();
        drop(queue);
        assert_eq!(numbers(copy.path()).await.last(), Some(&9), "{end}");
    }
}

/// A damaged message is never sent.
#[tokio::test]
async fn a_flipped_bit_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let queue = FileQueue::new(directory.path());
    for number in 1..=2 {
        queue.push(number, vec![0; 20]).await.unwrap();
    }
    let [file] = &files(directory.path())[..] else {
        panic!("one file")
    };
    let whole = fs::read(file).unwrap();
    for byte in 0..40 {
        let mut damaged = whole.clone();
        damaged[byte] ^= 1;
        fs::write(file, &damaged).unwrap();
        assert_eq!(queue.get(1).await.unwrap(), None, "{byte}");
        assert_eq!(queue.get(2).await.unwrap(), Some(vec![0; 20]));
        assert_eq!(numbers(directory.path()).await, [0; 0], "{byte}");
        fs::write(file, &whole).unwrap();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let queue = FileQueue::new(directory.path());
    queue.push(1, vec![1]).await.unwrap();
    let mode = fs::metadata(&files(directory.path())[0]).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

/// Reading a named pipe waits for another program.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_that_is_not_regular_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let queue = FileQueue::new(directory.path());
    queue.push(1, b"a".to_vec()).await.unwrap();
    drop(queue);
    let [file] = &files(directory.path())[..] else {
        panic!("the queue has one file");
    };
    fs::remove_file(file).unwrap();
    assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
    let error = FileQueue::new(directory.path()).load().await.unwrap_err();
    assert!(
        error.to_string().ends_with("is not a regular file"),
        "{error}"
    );
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_an_error_of_each_message() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let hub = unreachable_hub().await;
    let (handle, _events) = hub.connect_with(quick().with_queue(FileQueue::new(file)));
    let error = handle.enqueue(Message::new("a")).await.unwrap_err();
    assert_eq!(error.kind(), dps_device::ErrorKind::Queue);
}

/// The next connection sends the messages that one connection did not send, in order and before newer ones.
#[tokio::test]
async fn messages_of_an_earlier_run_are_sent_first() {
    let directory = tempfile::tempdir().unwrap();
    let queue = || FileQueue::new(directory.path());
    let hub = unreachable_hub().await;
    let (handle, mut events) = hub.connect_with(quick().with_queue(queue()));
    for payload in ["a", "b"] {
        let message = Message::new(payload).with_property("x", payload);
        drop(events.drive(handle.enqueue(message)).await.unwrap());
    }
    let closed = events.drive(handle.close(Duration::ZERO)).await;
    assert_eq!(closed.not_sent, 2);
    drop((handle, events));

    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let (handle, events) = hub.connect_with(quick().with_queue(queue()));
    let mut device = Device { handle, events };
    let delivery = device.handle.enqueue(Message::new("c")).await.unwrap();
    let script = async {
        let mut peer = HubPeer::accept(&server).await;
        for (body, properties) in [("a", "x=a"), ("b", "x=b"), ("c", "")] {
            let message = peer.message().await;
            assert_eq!(message.body, body);
            let topic = format!("devices/my-device/messages/events/{properties}");
            assert_eq!(message.topic, topic);
            peer.acknowledge(&message).await;
        }
        peer
    };
    let (outcome, _peer) = tokio::join!(device.events.drive(delivery), script);
    outcome.unwrap();
    let closed = device.events.drive(device.handle.close(30 * SECOND)).await;
    assert_eq!(closed.not_sent, 0);
    drop(device);
    assert_eq!(numbers(directory.path()).await, [0; 0]);
}

/// Runs this test as another process that accepts messages all the time, and kills it.
#[tokio::test]
async fn a_program_that_is_killed_leaves_every_message_that_was_accepted() {
    if let Ok(path) = std::env::var(CHILD) {
        let queue = FileQueue::new(path);
        let first = queue
            .load()
            .await
            .unwrap()
            .last()
            .map_or(1, |last| last.0 + 1);
        for number in first.. {
            queue.push(number, vec![1; 5000]).await.unwrap();
            println!("accepted {number}");
        }
    }
    let directory = tempfile::tempdir().unwrap();
    for round in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut accepted = 0;
        let numbers_of = lines.filter_map(|line| {
            let line = line.unwrap();
            let (_, number) = line.split_once("accepted ")?;
            number.trim().parse::<u64>().ok()
        });
        for number in numbers_of.take(10 * round) {
            accepted = number;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let kept = numbers(directory.path()).await;
        assert!(accepted > 0);
        let expected: Vec<u64> = (1..=kept.len() as u64).collect();
        assert_eq!(kept, expected);
        assert!(kept.len() as u64 >= accepted, "{accepted}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn any_file_is_read_and_the_queue_can_be_used(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("00000000000000000001.queue"), &bytes).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let queue = FileQueue::new(directory.path());
            let first = queue.load().await.unwrap().last().map_or(1, |last| last.0 + 1);
            queue.push(first, vec![1; 10]).await.unwrap();
            assert_eq!(queue.get(first).await.unwrap(), Some(vec![1; 10]));
        });
    }
}
