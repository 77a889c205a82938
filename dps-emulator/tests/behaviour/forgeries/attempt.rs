//! One registration of `dev-1` over one transport, with any credentials.

use dps_amqp::{
    Answer as AmqpAnswer, Client as AmqpClient, ClientOptions, CorrelationId, Frames, Message,
    Property, sasl,
};
use dps_websocket::WebSocketIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::common::{
    Client, Connect, Dps, FILTER, REGISTER, TIMEOUT, Transport, connect, publish, subscribe, tls,
};

pub(super) const TRANSPORTS: [&str; 5] = [
    "HTTPS",
    "MQTT",
    "MQTT over WebSocket",
    "AMQP",
    "AMQP over WebSocket",
];

const RESOURCE: &str = "0ne00000001/registrations/dev-1";
const MAX_BYTES: usize = 64 * 1024;

/// The credentials of an attempt.
#[derive(Clone, Copy)]
pub(super) enum Credentials<'a> {
    /// A SAS token.
    Token(&'a str),
    /// A chain and a private key, PEM. Neither is checked on this side.
    Identity(&'a str, &'a str),
}

impl<'a> Credentials<'a> {
    /// Registers over this transport. Returns true if the emulator accepts the registration.
    pub(super) async fn register(self, dps: &Dps, transport: &str) -> bool {
        let attempt = async {
            match transport {
                "HTTPS" => self.over_https(dps).await,
                "MQTT" => match self.identity() {
                    Some((chain, key)) => {
                        let client = dps.mqtt_presenting(chain, key).await;
                        self.over_mqtt(client).await
                    }
                    None => self.over_mqtt(dps.mqtt().await).await,
                },
                "MQTT over WebSocket" => match self.identity() {
                    Some((chain, key)) => {
                        let client = dps.websocket_presenting(chain, key).await;
                        self.over_mqtt(client).await
                    }
                    None => self.over_mqtt(dps.websocket().await).await,
                },
                "AMQP" => {
                    let tls = tls(dps.emulator.ca_pem(), self.identity());
                    let stream = connect(dps.emulator.amqp_port(), tls).await;
                    self.over_amqp(stream.expect("TLS")).await
                }
                _ => {
                    let tls = tls(dps.emulator.ca_pem(), self.identity());
                    let stream = connect(dps.port, tls).await.expect("TLS");
                    let path = "/$iothub/websocket";
                    let stream =
                        WebSocketIo::connect(stream, "localhost", path, "AMQPWSB10", MAX_BYTES);
                    self.over_amqp(stream.await.expect("a WebSocket")).await
                }
            }
        };
        let attempt = Box::pin(attempt);
        let limited = timeout(TIMEOUT, attempt).await;
        limited.unwrap_or_else(|_| panic!("no answer over {transport}"))
    }

    fn identity(self) -> Option<(&'a str, &'a str)> {
        match self {
            Self::Token(_) => None,
            Self::Identity(chain, key) => Some((chain, key)),
        }
    }

    async fn over_https(self, dps: &Dps) -> bool {
        let device = dps.device("dev-1");
        let device = match self {
            Self::Token(token) => device.token(token),
            Self::Identity(chain, key) => device.identity(chain, key),
        };
        let answer = device.register().await;
        assert!(matches!(answer.status, 202 | 401), "{answer:?}");
        answer.status == 202
    }

    async fn over_mqtt<C: Transport>(self, mut client: Client<C>) -> bool {
        let connect = match self {
            Self::Token(token) => Connect::of("dev-1").password(token),
            Self::Identity(..) => Connect::of("dev-1"),
        };
        if !client.try_connect(&connect).await {
            return false;
        }
        client.send(&subscribe(1, &[(FILTER, 1)])).await;
        client.expect(b"\x90\x03\x00\x01\x01").await;
        client
            .send(&publish(2, &format!("{REGISTER}1"), b"{}"))
            .await;
        client.expect(b"\x40\x02\x00\x02").await;
        let topic = client.response().await.topic;
        topic.starts_with("$dps/registrations/res/202/")
    }

    /// A device with a certificate sends no SASL layer, as Microsoft's SDKs.
    async fn over_amqp<S: AsyncRead + AsyncWrite + Unpin>(self, stream: S) -> bool {
        let mut frames = Frames::new(stream, MAX_BYTES);
        if let Self::Token(token) = self
            && sasl::plain(&mut frames, RESOURCE, token).await.is_err()
        {
            return false;
        }
        let options = ClientOptions::new("forger", "localhost", RESOURCE)
            .with_link_property("com.microsoft:api-version", "2019-03-31");
        let Ok(mut client) = AmqpClient::open(frames, &options).await else {
            return false;
        };
        let body = json!({ "registrationId": "dev-1" }).to_string();
        let mut request = Message::data(body.into_bytes()).with_property(
            "iotdps-operation-type",
            Property::Text("iotdps-register".into()),
        );
        request.correlation_id = Some(CorrelationId::text("1"));
        matches!(client.request(&request).await, Ok(AmqpAnswer::Message(_)))
    }
}

/// Whether the emulator has a registration record of `dev-1`.
pub(super) async fn is_registered(dps: &Dps) -> bool {
    match dps.get("/registrations/dev-1").await.status {
        200 => true,
        404 => false,
        status => panic!("{status}"),
    }
}
