//! `dps connect`: registers a device, connects it to its hub, sends what the options name, and prints what the hub sends.

mod assignment;
mod methods;
mod telemetry;

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{ArgGroup, Args};
use dps_device::certificate::{CertificateEvent, KeyKind};
use dps_device::{
    AssignmentFile, AssignmentStore, ConnectOptions, DeviceEvent, DeviceEvents, DeviceHandle, Host,
    Message, ProvisionedDevice, ProvisioningClient, Twin,
};
use dps_types::Timestamp;
use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use serde_json::{Map, Value, json};

use super::issued::NewKeyOptions;
use super::register::PayloadOption;
use super::{DeviceOptions, stop};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::input::{self, TextOrFile};
use crate::output::Events;
use assignment::{InFile, InMemory};
use methods::MethodAnswer;
use telemetry::{Telemetry, TelemetryOptions};

#[derive(Args)]
pub(crate) struct Connect {
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    payload: PayloadOption,
    /// Reported properties to send: a JSON object, or @FILE
    #[arg(long, value_name = "JSON")]
    report: Option<TextOrFile>,
    /// Print the device twin, send what the options name, and end
    #[arg(long, conflicts_with_all = ["messages", "methods", "seconds"])]
    once: bool,
    /// End this time after the device has connected
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Print cloud-to-device messages and accept them, so that the hub removes them. Without it, the hub keeps them
    #[arg(long)]
    messages: bool,
    /// Answer to a direct method: its status, and a payload in JSON; repeat it for several. Other methods get the status 404. Without
    /// it, the device does not accept methods
    #[arg(long = "method", value_name = "NAME=STATUS[:JSON]")]
    methods: Vec<MethodAnswer>,
    /// File that keeps the assignment, so that the next start does not register the device again
    #[arg(long, value_name = "FILE")]
    cache: Option<PathBuf>,
    /// Address of the hub, if it differs from its name: an emulator or a gateway
    #[arg(long, env = "DPS_HUB_HOST", value_name = "HOST")]
    hub_host: Option<Host>,
    #[command(flatten)]
    telemetry: TelemetryOptions,
    #[command(flatten)]
    issued: IssuedOptions,
}

/// Connects with a certificate that the service issues. Each registration requests one: without an assignment in the cache, or
/// when the hub refuses the certificate. It is renewed when it is due.
#[derive(Args)]
#[command(next_help_heading = "Issued certificate", group = ArgGroup::new("place_of_key")
    .args(["new_key", "new_key_pkcs11", "new_key_tpm"])
    .requires("cache"))]
struct IssuedOptions {
    #[command(flatten)]
    new_key: NewKeyOptions,
}

/// The time limit for what was accepted and not yet acknowledged when the command ends.
const CLOSE: Duration = Duration::from_secs(10);

pub(crate) async fn run(connect: Connect, context: &Context) -> Result {
    let report = report(connect.report.as_ref())?;
    let telemetry = connect.telemetry.telemetry()?;
    let client = connect.device.client(context).await?;
    let device = connect.device(client, context).await?;
    let (handle, events) = device.with_options(connect.options()).connect();
    let mut session = Session {
        connect: &connect,
        context,
        handle,
        events,
        printed: Events::new(context.output),
        version: 0,
    };
    if connect.once {
        return tokio::select! {
            result = session.once(report, telemetry) => result,
            stopped = stop::requested() => Ok(stopped?),
        };
    }
    let result = tokio::select! {
        result = session.follow(report, telemetry) => result,
        stopped = stop::requested() => stopped.map_err(Failure::from),
    };
    session.close().await;
    session.printed.finish()?;
    result
}

impl Connect {
    async fn device(
        &self,
        client: ProvisioningClient,
        context: &Context,
    ) -> Result<ProvisionedDevice> {
        let attestation = self.device.attestation();
        let place = self.issued.new_key.place(KeyKind::default(), attestation);
        let certificates = match place.await? {
            Some(place) => {
                // The certificate of another device is not overwritten.
                let held = place.held(client.registration_id(), false).await?;
                place.check_writable(held.as_ref()).await?;
                Some(place.options())
            }
            None if self.issued.new_key.certificate_out.is_some() => {
                return Err(Failure::usage(
                    "--certificate-out requires --new-key, --new-key-pkcs11 or --new-key-tpm",
                ));
            }
            None => None,
        };
        let store: Box<dyn AssignmentStore> = match &self.cache {
            Some(file) => Box::new(InFile {
                file: AssignmentFile::new(file),
                output: context.output,
            }),
            None => Box::new(InMemory::default()),
        };
        let (transport, hub_host) = (self.device.transport.hub(), self.hub_host.clone());
        let mut device = ProvisionedDevice::new(client, store).with_hub(move |hub| {
            let hub = hub.with_transport(transport);
            match &hub_host {
                Some(host) => hub.with_host(host.clone()),
                None => hub,
            }
        });
        if let Some(payload) = self.payload.value()? {
            device = device.with_payload(payload);
        }
        if let Some(certificates) = certificates {
            device = device.with_certificates(certificates);
        }
        Ok(device)
    }

    fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new();
        if !self.messages {
            options = options.without_messages();
        }
        if self.methods.is_empty() {
            options = options.without_methods();
        }
        options
    }
}

/// A connected device, and what it prints.
struct Session<'a> {
    connect: &'a Connect,
    context: &'a Context,
    handle: DeviceHandle,
    events: DeviceEvents,
    printed: Events,
    /// The version of the desired properties that were printed.
    version: u64,
}

impl Session<'_> {
    async fn once(&mut self, report: Option<Value>, telemetry: Option<Telemetry>) -> Result {
        let twin = self.start(report).await?;
        self.context.output.item(describe(&twin))?;
        if let Some(telemetry) = telemetry {
            let sent = self
                .events
                .drive(telemetry.send(self.handle.clone()))
                .await?;
            self.note_sent(sent);
        }
        self.close().await;
        Ok(())
    }

    async fn follow(&mut self, report: Option<Value>, telemetry: Option<Telemetry>) -> Result {
        let twin = self.start(report).await?;
        self.version = twin.desired.version();
        self.printed.push(describe(&twin))?;
        let handle = self.handle.clone();
        let sending = async move {
            match telemetry {
                Some(telemetry) => telemetry.send(handle).await.map(Some),
                None => Ok(None),
            }
        };
        let mut sending = std::pin::pin!(sending.fuse());
        let mut elapsed = std::pin::pin!(after(self.connect.seconds));
        let mut end = Ok(());
        loop {
            tokio::select! {
                sent = &mut sending, if !sending.is_terminated() => {
                    if let Some(sent) = sent? {
                        self.note_sent(sent);
                    }
                }
                event = self.events.next() => match event {
                    Some(DeviceEvent::Failed { error, retry_in: None, .. }) => end = Err(error.into()),
                    Some(event) => self.print(event)?,
                    None => return end,
                },
                () = &mut elapsed => return Ok(()),
            }
        }
    }

    /// Connects, and sends the reported properties. Returns the twin before them.
    async fn start(&mut self, report: Option<Value>) -> Result<Twin> {
        let twin = self.events.drive(self.handle.twin()).await?;
        let output = self.context.output;
        if let Some(assignment) = self.handle.assignment() {
            output.note(format_args!("connected to {}", assignment.hub()));
        }
        if let Some(report) = report {
            let version = self.events.drive(self.handle.report(report)).await?;
            output.note(format_args!("reported; the version is {version}"));
        }
        Ok(twin)
    }

    fn print(&mut self, event: DeviceEvent) -> Result {
        match event {
            DeviceEvent::Desired(patch) if patch.version() != self.version => {
                self.version = patch.version();
                self.printed.push(json!({"desired": patch.as_map()}))
            }
            DeviceEvent::Twin(twin) if twin.desired.version() != self.version => {
                self.version = twin.desired.version();
                self.printed.push(describe(&twin))
            }
            DeviceEvent::Message(received) => {
                // It is accepted when it is printed.
                self.printed.push(message(received.message()))?;
                received.complete();
                Ok(())
            }
            DeviceEvent::Method(method) => {
                let call = methods::answer(method, &self.connect.methods)?;
                self.printed.push(call)
            }
            DeviceEvent::Failed {
                error,
                retry_in: Some(wait),
                ..
            } => {
                let wait = wait.as_secs_f64();
                self.context
                    .output
                    .note(format_args!("{error:#}; again in {wait:.0} s"));
                Ok(())
            }
            DeviceEvent::Certificate(CertificateEvent::InUse { valid_until, .. }) => {
                self.context.output.note(format_args!(
                    "the hub accepted the certificate, which is valid until {}",
                    Timestamp::from(valid_until)
                ));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn note_sent(&self, sent: u64) {
        let messages = if sent == 1 { "message" } else { "messages" };
        self.context
            .output
            .note(format_args!("sent {sent} {messages}"));
    }

    /// Sends the acknowledgements and answers that are left, and disconnects.
    async fn close(&mut self) {
        let closed = self.events.drive(self.handle.close(CLOSE)).await;
        if closed.not_sent > 0 {
            let left = closed.not_sent;
            self.context
                .output
                .note(format_args!("{left} messages were not sent"));
        }
    }
}

fn describe(twin: &Twin) -> Value {
    json!({"desired": twin.desired.as_map(), "reported": twin.reported.as_map()})
}

fn message(message: &Message) -> Value {
    let mut document = Map::new();
    let mut add = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            document.insert(name.to_owned(), value.into());
        }
    };
    add("messageId", message.message_id());
    add("correlationId", message.correlation_id());
    add("contentType", message.content_type());
    let properties: Map<_, _> = message
        .properties()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect();
    if !properties.is_empty() {
        document.insert("properties".to_owned(), properties.into());
    }
    document.insert("body".to_owned(), body(message.payload()));
    json!({"message": document})
}

/// A body as JSON if it is a JSON document, as a string if it is text, and else in base64.
fn body(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    if let Ok(value) = dps_types::json::from_slice(bytes) {
        return value;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({"base64": STANDARD.encode(bytes)}),
    }
}

/// Parses an option such as `NAME=VALUE`.
fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text} is not NAME=VALUE")),
    }
}

async fn after(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

fn report(text: Option<&TextOrFile>) -> Result<Option<Value>> {
    let Some(text) = text else {
        return Ok(None);
    };
    let value: Value = serde_json::from_str(&input::value_or_file(text)?)
        .map_err(|error| Failure::from(error).about("--report"))?;
    match value.is_object() {
        true => Ok(Some(value)),
        false => Err(Failure::usage(
            "--report is not a JSON object, such as {\"model\": \"t1\"}",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_json_text_or_base64() {
        assert_eq!(body(b""), Value::Null);
        assert_eq!(body(br#"{"a": 1}"#), json!({"a": 1}));
        assert_eq!(body(b"21.5 degrees"), json!("21.5 degrees"));
        assert_eq!(body(&[0xff, 0x00]), json!({"base64": "/wA="}));
    }

    #[test]
    fn a_property_has_a_name() {
        assert_eq!(
            name_and_value("a=b=c"),
            Ok(("a".to_owned(), "b=c".to_owned()))
        );
        assert_eq!(name_and_value("a="), Ok(("a".to_owned(), String::new())));
        assert!(name_and_value("=b").is_err() && name_and_value("a").is_err());
    }
}
