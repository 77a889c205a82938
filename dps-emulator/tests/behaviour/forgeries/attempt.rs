//! One registration over one transport, with any credentials.

use std::path::Path;
use std::process::Stdio;

use dps_amqp::{
    Answer as AmqpAnswer, Body, Client as AmqpClient, ClientOptions, CorrelationId, Frames,
    Message, Property, sasl,
};
use dps_websocket::WebSocketIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::common::{
    ACCEPTED, Client, Connect, Dps, FILTER, REGISTER, TIMEOUT, connect, publish, subscribe, tls,
};

pub(super) const TRANSPORTS: [&str; 5] = [
    "HTTPS",
    "MQTT",
    "MQTT over WebSocket",
    "AMQP",
    "AMQP over WebSocket",
];

const MAX_BYTES: usize = 64 * 1024;

/// A connection with TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The credentials of an attempt.
#[derive(Clone, Copy)]
pub(super) enum Credentials<'a> {
    /// A SAS token.
    Token(&'a str),
    /// A chain and a private key, PEM. Neither is checked on this side.
    Identity(&'a str, &'a str),
    /// The folder of `chain.pem` and `key.pem` for the openssl program, which has keys that rustls does not have.
    Openssl(&'a Path),
}

impl<'a> Credentials<'a> {
    /// Registers `dev-1` over this transport. Returns true if the emulator accepts the registration.
    pub(super) async fn register(self, dps: &Dps, transport: &str) -> bool {
        self.register_as("dev-1", dps, transport).await
    }

    /// Registers a device over this transport. Returns true if the emulator accepts the registration.
    pub(super) async fn register_as(self, id: &str, dps: &Dps, transport: &str) -> bool {
        let attempt = Box::pin(async {
            let port = match transport {
                "MQTT" => dps.emulator.mqtt_port(),
                "AMQP" => dps.emulator.amqp_port(),
                _ => dps.port,
            };
            let stream = self.connect(dps, port).await?;
            match transport {
                "HTTPS" => self.over_https(id, stream).await,
                "MQTT" => self.over_mqtt(id, stream).await,
                "MQTT over WebSocket" => {
                    let stream = websocket(stream, "mqtt").await?;
                    self.over_mqtt(id, stream).await
                }
                "AMQP" => self.over_amqp(id, stream).await,
                _ => {
                    let stream = websocket(stream, "AMQPWSB10").await?;
                    self.over_amqp(id, stream).await
                }
            }
        });
        let limited = timeout(TIMEOUT, attempt).await;
        let answer = limited.unwrap_or_else(|_| panic!("no answer over {transport}"));
        answer.is_some_and(|answer| {
            let status = answer["status"].as_str().unwrap_or_default();
            matches!(status, "assigning" | "assigned")
        })
    }

    /// `None` if the emulator ends the handshake.
    async fn connect(self, dps: &Dps, port: u16) -> Option<Box<dyn Stream>> {
        let identity = match self {
            Self::Token(_) => None,
            Self::Identity(chain, key) => Some((chain, key)),
            Self::Openssl(folder) => return Some(Box::new(openssl_client(port, folder))),
        };
        let stream = connect(port, tls(dps.emulator.ca_pem(), identity)).await;
        Some(Box::new(stream.ok()?))
    }

    /// The document of an answer below 400.
    async fn over_https(self, id: &str, mut stream: impl Stream) -> Option<Value> {
        let body = json!({ "registrationId": id }).to_string();
        let authorization = match self {
            Self::Token(token) => format!("Authorization: {token}\r\n"),
            _ => String::new(),
        };
        let request = format!(
            "PUT /0ne00000001/registrations/{id}/register?api-version=2021-06-01 HTTP/1.1\r\n\
             Host: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{authorization}\r\n{body}",
            body.len(),
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        // The emulator may reset the connection after its answer.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        match head.starts_with("HTTP/1.1 2") {
            true => Some(serde_json::from_str(body).expect("JSON")),
            false => None,
        }
    }

    /// The document of a response below 400.
    async fn over_mqtt(self, id: &str, stream: impl Stream) -> Option<Value> {
        let connect = match self {
            Self::Token(token) => Connect::of(id).password(token),
            _ => Connect::of(id),
        };
        let mut client = Client::over(stream);
        client.send(&connect.bytes()).await;
        if client.transport_answer().await.as_deref() != Some(ACCEPTED) {
            return None;
        }
        client.send(&subscribe(1, &[(FILTER, 1)])).await;
        client.expect(b"\x90\x03\x00\x01\x01").await;
        client
            .send(&publish(2, &format!("{REGISTER}1"), b"{}"))
            .await;
        client.expect(b"\x40\x02\x00\x02").await;
        let response = client.next_response().await?;
        let accepted = response.topic.starts_with("$dps/registrations/res/2");
        accepted.then(|| response.json())
    }

    /// The document of an answer that is not a rejection. A device with a certificate sends no SASL layer, as Microsoft's
    /// SDKs.
    async fn over_amqp(self, id: &str, stream: impl Stream) -> Option<Value> {
        let resource = format!("0ne00000001/registrations/{id}");
        let mut frames = Frames::new(stream, MAX_BYTES);
        if let Self::Token(token) = self {
            sasl::plain(&mut frames, &resource, token).await.ok()?;
        }
        let options = ClientOptions::new("forger", "localhost", &resource)
            .with_link_property("com.microsoft:api-version", "2019-03-31");
        let mut client = AmqpClient::open(frames, &options).await.ok()?;
        let body = json!({ "registrationId": id }).to_string();
        let mut request = Message::data(body.into_bytes()).with_property(
            "iotdps-operation-type",
            Property::Text("iotdps-register".into()),
        );
        request.correlation_id = Some(CorrelationId::text("1"));
        let Ok(AmqpAnswer::Message(answer)) = client.request(&request).await else {
            return None;
        };
        let Body::Data(body) = &answer.body else {
            panic!("not a document: {answer:?}");
        };
        Some(serde_json::from_slice(body).expect("JSON"))
    }
}

/// `None` if the emulator ends the connection.
async fn websocket(stream: impl Stream, protocol: &str) -> Option<WebSocketIo<impl Stream>> {
    let path = "/$iothub/websocket";
    let opened = WebSocketIo::connect(stream, "localhost", path, protocol, MAX_BYTES);
    opened.await.ok()
}

/// A TLS connection of `openssl s_client`, which ends with its input.
fn openssl_client(port: u16, folder: &Path) -> impl Stream + use<> {
    let mut child = tokio::process::Command::new("openssl")
        .args(["s_client", "-quiet", "-no_ign_eof", "-nocommands"])
        .args(["-cipher", "DEFAULT@SECLEVEL=0", "-connect"])
        .arg(format!("127.0.0.1:{port}"))
        .args([
            "-cert",
            "chain.pem",
            "-cert_chain",
            "chain.pem",
            "-key",
            "key.pem",
        ])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl is installed");
    let streams = (child.stdout.take(), child.stdin.take());
    let (Some(output), Some(input)) = streams else {
        panic!("both are pipes");
    };
    tokio::io::join(output, input)
}

/// Whether the emulator has a registration record of `dev-1`.
pub(super) async fn is_registered(dps: &Dps) -> bool {
    match dps.get("/registrations/dev-1").await.status {
        200 => true,
        404 => false,
        status => panic!("{status}"),
    }
}
