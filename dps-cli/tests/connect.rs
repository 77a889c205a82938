//! `dps connect` against the emulator's hub: telemetry, desired properties, messages, methods, and the ways to end.

mod common;

use std::process::Stdio;

use common::{Ran, World};
use dps_emulator::{CloudToDeviceMessage, DirectMethod, HubHandle};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

const DEVICE: [&str; 7] = [
    "connect",
    "--registration-id",
    "kettle-1",
    "--group-key-file",
    "group.key",
    "--hub-host",
    "localhost",
];

async fn kettles() -> World {
    let world = World::start().await;
    world.file("group.key", "dGhlIGtleSBvZiB0aGUgZ3JvdXAgb2Yga2V0dGxlcyE=");
    let create = [
        "enrollment-group",
        "create",
        "kettles",
        "--hub",
        "127.0.0.1",
        "--primary-key-file",
        "group.key",
        "--secondary-key-file",
        "group.key",
    ];
    let created = world.run(&create).await;
    assert_eq!(created.code, 0, "{created:?}");
    world
}

fn connect<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&DEVICE, options].concat()
}

fn hub(world: &World) -> HubHandle {
    world.emulator.hub("127.0.0.1").expect("the hub is linked")
}

/// The bodies of the telemetry that the hub has received.
fn bodies(world: &World) -> Vec<String> {
    let messages = hub(world).telemetry("kettle-1");
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    messages
        .iter()
        .map(|message| text(message.body()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_has_a_content_type_and_properties_and_is_repeated() {
    let world = kettles().await;
    let sent = world
        .run(&connect(&[
            "--once",
            "--telemetry",
            r#"{"temperature": 21.5}"#,
            "--content-type",
            "application/json",
            "--property",
            "alert=false",
            "--property",
            "place=a=b",
            "--count",
            "3",
            "--interval",
            "0",
        ]))
        .await;
    assert_eq!(sent.code, 0, "{sent:?}");
    assert!(sent.stderr.contains("sent 3 messages"), "{sent:?}");
    // A name without quotes.
    assert!(sent.stderr.contains("connected to 127.0.0.1\n"), "{sent:?}");
    assert_eq!(bodies(&world), [r#"{"temperature": 21.5}"#; 3]);
    let message = &hub(&world).telemetry("kettle-1")[0];
    assert_eq!(message.property("alert"), Some("false"));
    assert_eq!(message.property("place"), Some("a=b"));
    assert_eq!(
        message.system_property("content-type"),
        Some("application/json")
    );
    assert_eq!(message.system_property("content-encoding"), Some("utf-8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_of_stdin_is_a_message_and_a_file_is_one() {
    let world = kettles().await;
    let mut command = world.command(&connect(&["--once", "--telemetry", "-"]));
    command.write_stdin("first\n\nsecond\r\nthird");
    let sent = Ran::of(command).await;
    assert_eq!(sent.code, 0, "{sent:?}");
    assert_eq!(bodies(&world), ["first", "second", "third"]);

    world.file("reading.bin", b"\xff\x00\n");
    let file = connect(&["--once", "--telemetry", "@reading.bin"]);
    assert_eq!(world.run(&file).await.code, 0);
    let last = hub(&world).telemetry("kettle-1");
    assert_eq!(last.last().unwrap().body(), b"\xff\x00\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_are_not_valid_are_refused_before_anything_is_sent() {
    let world = kettles().await;
    let refused: [&[&str]; 10] = [
        &["--telemetry", "-", "--count", "2"],
        &["--telemetry", "x", "--count", "0"],
        &["--telemetry", "x", "--property", "alert"],
        &["--telemetry", "@nowhere.json"],
        &["--count", "2"],
        &["--method", "eject"],
        &["--method", "eject=200:{"],
        &["--once", "--messages"],
        &["--once", "--for", "1"],
        &["--report", "[]"],
    ];
    for options in refused {
        let ran = world.run(&connect(options)).await;
        assert_eq!(ran.code, 2, "{options:?}: {ran:?}");
    }
    let registered = world.json(&["registration", "list"]).await;
    assert_eq!(registered, json!([]));
}

/// A running `dps connect`, and the documents that it prints.
struct Watching {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    fn start(world: &World, options: &[&str]) -> Self {
        let ndjson = connect(&[options, &["-o", "ndjson"]].concat());
        let mut process = world.spawn(&ndjson, Stdio::null());
        let stdout = process.stdout.take().expect("a pipe");
        Self {
            process,
            lines: BufReader::new(stdout).lines(),
        }
    }

    async fn next(&mut self) -> Value {
        let line = self.lines.next_line().await.expect("a line of text");
        serde_json::from_str(&line.expect("another document")).expect("JSON")
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn changes_messages_and_methods_are_printed_until_the_program_is_stopped() {
    let world = kettles().await;
    let options = [
        "--messages",
        "--method",
        r#"eject=200:{"slices": 2}"#,
        "--method",
        "reboot=503",
    ];
    let mut device = Watching::start(&world, &options);
    assert_eq!(device.next().await, json!({"desired": {}, "reported": {}}));

    let hub = hub(&world);
    let desired = json!({"mode": "eco"});
    hub.update_desired("kettle-1", desired.clone())
        .await
        .unwrap();
    assert_eq!(device.next().await, json!({"desired": desired}));

    let message = CloudToDeviceMessage::new("wake up")
        .message_id("m-1")
        .property("urgent", "yes");
    hub.send_message("kettle-1", &message).await.unwrap();
    let received = device.next().await;
    assert_eq!(received["message"]["body"], "wake up");
    assert_eq!(received["message"]["messageId"], "m-1");
    assert_eq!(received["message"]["properties"]["urgent"], "yes");

    let eject = DirectMethod::new("eject").payload(json!({"now": true}));
    let response = hub.invoke_method("kettle-1", &eject).await.unwrap();
    assert_eq!(
        (response.status, &response.payload),
        (200, &json!({"slices": 2}))
    );
    assert_eq!(
        device.next().await["method"],
        json!({"name": "eject", "payload": {"now": true}, "status": 200, "answer": {"slices": 2}})
    );
    for (name, status) in [("reboot", 503), ("dance", 404)] {
        let response = hub
            .invoke_method("kettle-1", &DirectMethod::new(name))
            .await;
        assert_eq!(response.unwrap().status, status);
        assert_eq!(device.next().await["method"]["name"], name);
    }

    common::terminate(&device.process);
    let status = device.process.wait().await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(device.lines.next_line().await.unwrap(), None);
    let left = hub.queued_messages("kettle-1").await.unwrap();
    assert_eq!(left, 0, "the message was accepted");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn without_the_options_the_hub_keeps_messages_and_reports_that_methods_are_not_accepted() {
    let world = kettles().await;
    let mut device = Watching::start(&world, &[]);
    device.next().await;
    let hub = hub(&world);
    let message = CloudToDeviceMessage::new("wake up");
    hub.send_message("kettle-1", &message).await.unwrap();
    let response = hub
        .invoke_method("kettle-1", &DirectMethod::new("eject"))
        .await;
    assert!(response.is_err(), "{response:?}");
    assert_eq!(hub.queued_messages("kettle-1").await.unwrap(), 1);
    common::terminate(&device.process);
    assert_eq!(device.process.wait().await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_time_prints_one_json_document() {
    let world = kettles().await;
    let options = ["--for", "1", "--telemetry", "x"];
    let printed = world.json(&connect(&options)).await;
    assert_eq!(printed, json!([{"desired": {}, "reported": {}}]));
}

/// The second device may not write to files, and replaces the assignment of the first one.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_that_cannot_be_saved_is_reported_and_the_file_stays() {
    let world = kettles().await;
    world.json(&connect(&["--cache", "a.json", "--once"])).await;
    let first = world.read("a.json");
    let limited = r#"trap '' XFSZ; ulimit -f 0; exec "$0" "$@""#;
    let other = connect(&["--cache", "a.json", "--once"])
        .into_iter()
        .map(|word| word.replace("kettle-1", "kettle-2"));
    let mut command = assert_cmd::Command::new("sh");
    command
        .args(["-c", limited, env!("CARGO_BIN_EXE_dps")])
        .args(other)
        .current_dir(&world.dir)
        .envs(world.variables());
    let ran = Ran::of(command).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let message = "the assignment cannot be saved: a.json was not changed: ";
    assert!(ran.stderr.contains(message), "{ran:?}");
    assert_eq!(world.read("a.json"), first);
    assert!(!std::path::Path::new(&world.path("a.json.new")).exists());
}
