//! A process that registers once, with our client or one of Microsoft's, and its cost.

use std::path::PathBuf;
use std::process::Command;

use dps_benches::{Service, TransportKind};
use serde_json::json;
use tempfile::NamedTempFile;

const NAME: &str = "peer-1";

/// A device client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    /// The program `register_once`.
    Ours,
    /// azure-iot-device.
    Python,
    /// azure-iot-provisioning-device.
    Node,
}

impl Client {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "dps-device",
            Self::Python => "azure-iot-device (Python)",
            Self::Node => "azure-iot-provisioning-device (Node)",
        }
    }

    /// The Python client has only MQTT.
    pub(crate) fn supports(self, transport: TransportKind) -> bool {
        let is_mqtt = matches!(transport, TransportKind::Mqtt | TransportKind::WebSocket);
        self != Self::Python || is_mqtt
    }

    /// Reads what the client and `measure.py` print. `None` if the registration failed.
    fn read(self, text: &str) -> Option<Cost> {
        let (printed, cost) = text.trim().rsplit_once('\n')?;
        let [cpu, peak, wall] = numbers(cost)[..] else {
            return None;
        };
        let peak = match self {
            // It prints its own peak: that of the kernel includes the memory of `measure.py`.
            Self::Ours => *numbers(printed).get(1)?,
            Self::Python | Self::Node if printed.contains(r#""assigned""#) => peak,
            Self::Python | Self::Node => return None,
        };
        Some(Cost {
            cpu_ms: cpu / 1e3,
            peak_mib: peak / 1024.0,
            wall_ms: wall / 1e3,
        })
    }
}

/// The numbers of a line.
fn numbers(line: &str) -> Vec<f64> {
    line.split(' ').filter_map(|it| it.parse().ok()).collect()
}

/// The cost of a process.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// User and system time of the whole process.
    pub(crate) cpu_ms: f64,
    pub(crate) peak_mib: f64,
    pub(crate) wall_ms: f64,
}

/// A device that is registered again and again.
pub(crate) struct Device<'a> {
    service: &'a Service,
    key: String,
    ca: NamedTempFile,
}

impl<'a> Device<'a> {
    pub(crate) fn new(service: &'a Service) -> Self {
        let ca = NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), service.emulator().ca_pem()).unwrap();
        let key = service
            .group_key()
            .derive_device_key(&NAME.parse().unwrap());
        Self {
            service,
            key: key.to_base64().to_string(),
            ca,
        }
    }

    /// Registers with a new process.
    pub(crate) fn cost(&self, client: Client, transport: TransportKind) -> Cost {
        let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let python = root.join("interop/python/.venv/bin/python");
        let mut command = Command::new(&python);
        command.arg(root.join("benches/python/measure.py"));
        let id_scope = self.service.emulator().id_scope().as_str();
        let request = json!({
            "transport": match transport {
                TransportKind::WebSocket => "mqtt-ws",
                TransportKind::AmqpWebSocket => "amqp-ws",
                other => other.name(),
            },
            "host": "localhost", "idScope": id_scope, "registrationId": NAME, "key": self.key,
        });
        match client {
            Client::Ours => command
                .arg(env!("CARGO_BIN_EXE_register_once"))
                .args([
                    "given",
                    transport.name(),
                    &self.service.port(transport).to_string(),
                ])
                .args([id_scope, NAME, &self.key])
                .arg(self.ca.path()),
            Client::Python => command
                .arg(&python)
                .arg(root.join("interop/python/register.py"))
                .arg(request.to_string())
                .env("SSL_CERT_FILE", self.ca.path()),
            Client::Node => command
                .arg("node")
                .arg(root.join("interop/node/register.mjs"))
                .arg(request.to_string())
                .env("NODE_EXTRA_CA_CERTS", self.ca.path()),
        };
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        client.read(&text).unwrap_or_else(|| {
            panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
        })
    }
}
