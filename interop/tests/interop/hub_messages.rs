//! A device at its hub and a back end of the hub, each with Microsoft's client: telemetry, cloud-to-device messages, direct
//! methods, twin, modules and uploads.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::dialogue::Dialogue;
use crate::emulator::{Emulator, HTTPS_PORT, LOCALHOST};
use crate::hub::{ClientError, HubOperator};
use crate::program::Program;

/// Keys of 32 bytes.
const KEY_1: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const KEY_2: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=";

/// The time within which telemetry must be in the file.
const FILE_DEADLINE: Duration = Duration::from_secs(30);

/// An emulator with files for telemetry and uploads, a back end, and a device or module with this client.
struct Bench {
    emulator: Emulator,
    operator: HubOperator,
    device: Device,
    dir: TempDir,
}

/// The device. The commands are described in `python/hub_device.py`.
struct Device(Dialogue);

impl Device {
    async fn ask(&mut self, command: Value) -> Value {
        let answer: Result<Value, ClientError> = self.0.ask(command).await;
        answer.expect("the client does it")
    }
}

impl Bench {
    async fn start(program: Program, transport: &str, module_id: Option<&str>) -> Self {
        let dir = TempDir::new().expect("a folder");
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let (telemetry, uploads) = (path("telemetry.ndjson"), path("uploads"));
        let options = ["--hub", LOCALHOST, "--telemetry-file", &telemetry];
        let options = [&options[..], &["--upload-dir", &uploads]].concat();
        let emulator = Emulator::start_with(HTTPS_PORT, &options).await;
        let mut operator = HubOperator::start(&emulator, LOCALHOST);
        let create = json!({ "do": "create", "id": "dev-1", "primary": KEY_1, "secondary": KEY_2 });
        let created = operator.ask(create).await.expect("a device");
        assert_eq!(created["deviceId"], "dev-1");
        let key = match module_id {
            None => KEY_1,
            Some(module) => {
                let create = json!({ "do": "createModule", "id": "dev-1", "module": module, "primary": KEY_2, "secondary": KEY_1 });
                let created = operator.ask(create).await.expect("a module");
                assert_eq!(created["moduleId"], module);
                KEY_2
            }
        };
        let mut request = json!({
            "transport": transport, "hub": LOCALHOST, "deviceId": "dev-1", "key": key,
        });
        if let Some(module) = module_id {
            request["moduleId"] = module.into();
        }
        let mut script = program.script("hub_device", emulator.ca_pem());
        let mut device = Device(Dialogue::start(script.arg(request.to_string())));
        device.ask(json!({ "do": "connect" })).await;
        Self {
            emulator,
            operator,
            device,
            dir,
        }
    }

    /// Sends telemetry, and finds it in the file.
    async fn telemetry(&mut self) -> Value {
        let properties = json!({ "alarm": "yes & no", "unit": "°C" });
        let send = json!({ "do": "send", "body": "{\"t\":21.5}", "properties": properties });
        self.device.ask(send).await;
        let file = self.dir.path().join("telemetry.ndjson");
        let line = timeout(FILE_DEADLINE, line(&file)).await;
        let line = line.expect("telemetry is in the file");
        assert_eq!(line["deviceId"], "dev-1", "{line}");
        assert_eq!(line["body"], json!({ "t": 21.5 }), "{line}");
        assert_eq!(line["properties"], properties, "{line}");
        let content_type = &line["systemProperties"]["content-type"];
        assert_eq!(content_type, "application/json", "{line}");
        line
    }

    /// A method reaches the device, and its response the back end.
    async fn method(&mut self, module_id: Option<&str>) {
        let mut invoke = json!({ "do": "invoke", "id": "dev-1", "method": "echo", "payload": { "n": [1, "ü"] } });
        if let Some(module) = module_id {
            invoke["module"] = module.into();
        }
        let response = self.operator.ask(invoke.clone()).await.expect("a response");
        let expected = json!({ "status": 207, "payload": { "echo": { "n": [1, "ü"] } } });
        assert_eq!(response, expected);
        let method = self.device.ask(json!({ "do": "method" })).await;
        assert_eq!(
            method,
            json!({ "name": "echo", "payload": { "n": [1, "ü"] } })
        );
        invoke["id"] = "missing".into();
        let missing = self.operator.ask(invoke).await.expect_err("no such device");
        assert_eq!(missing.status, Some(404));
    }

    async fn twin(&mut self) {
        let report = json!({ "do": "report", "patch": { "temperature": 21 } });
        self.device.ask(report).await;
        let twin = self.device.ask(json!({ "do": "twin" })).await;
        assert_eq!(twin["reported"]["temperature"], 21, "{twin}");
    }
}

/// The tasks of a device at its hub.
pub(crate) async fn device(program: Program, transport: &str) {
    let mut bench = Bench::start(program, transport, None).await;
    let line = bench.telemetry().await;
    let device = &line["systemProperties"]["iothub-connection-device-id"];
    assert_eq!(device, "dev-1", "{line}");
    bench.method(None).await;
    bench.twin().await;

    let message = json!({
        "do": "message", "id": "dev-1", "body": "turn on", "messageId": "m/1", "properties": { "site": "north & south" },
    });
    bench.operator.ask(message).await.expect("sent");
    let received = bench.device.ask(json!({ "do": "message" })).await;
    assert_eq!(received["body"], "turn on", "{received}");
    assert_eq!(received["messageId"], "m/1", "{received}");
    assert_eq!(
        received["properties"]["site"], "north & south",
        "{received}"
    );
    let feedback = bench.operator.ask(json!({ "do": "feedback" })).await;
    let feedback = feedback.expect("feedback");
    assert_eq!(feedback[0]["originalMessageId"], "m/1", "{feedback}");
    assert_eq!(feedback[0]["statusCode"], "Success", "{feedback}");

    let upload = json!({ "do": "upload", "blob": "logs/today.txt", "content": "hello world" });
    assert_eq!(bench.device.ask(upload).await, 201);
    let file = bench
        .dir
        .path()
        .join("uploads/localhost/dev-1/logs/today.txt");
    assert_eq!(std::fs::read(file).expect("the file"), b"hello world");
    bench.emulator.stop().await;
}

/// The tasks of a module at the hub.
pub(crate) async fn module(program: Program, transport: &str) {
    let mut bench = Bench::start(program, transport, Some("mod-1")).await;
    let line = bench.telemetry().await;
    assert_eq!(line["moduleId"], "mod-1", "{line}");
    bench.method(Some("mod-1")).await;
    bench.twin().await;
    bench.emulator.stop().await;
}

/// The first line of the file, as soon as it is there.
async fn line(file: &Path) -> Value {
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some((line, _)) = text.split_once('\n') {
            return serde_json::from_str(line).expect("JSON");
        }
        sleep(Duration::from_millis(50)).await;
    }
}
