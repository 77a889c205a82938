//! One registration of a TPM over one transport, with any keys and any answer to the challenge.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_amqp::sasl::Tpm;
use dps_amqp::{
    Answer as AmqpAnswer, Client as AmqpClient, ClientOptions, CorrelationId, Frames, Message,
    Property,
};
use dps_device::attestation::TpmKeys;
use dps_hardware::SoftwareTpm;
use dps_types::tpm::AuthenticationKey;
use dps_websocket::WebSocketIo;
use serde_json::{Value, json};

use super::attempt::Stream;
use crate::common::{Dps, connect, tls};

pub(super) const TRANSPORTS: [&str; 3] = ["HTTPS", "AMQP", "AMQP over WebSocket"];

/// The public keys that a device presents: base64 of `TPM2B_PUBLIC`.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) endorsement: String,
    pub(super) storage: String,
}

impl Keys {
    pub(super) fn of(endorsement: &SoftwareTpm, storage: &SoftwareTpm) -> Self {
        Self {
            endorsement: endorsement.endorsement_key().to_base64(),
            storage: storage.storage_root_key().to_base64(),
        }
    }

    /// The endorsement key with another byte at this place.
    pub(super) fn changed(&self, at: usize, change: impl Fn(u8) -> u8) -> Self {
        let mut bytes = STANDARD.decode(&self.endorsement).expect("base64");
        bytes[at] = change(bytes[at]);
        Self {
            endorsement: STANDARD.encode(bytes),
            ..self.clone()
        }
    }
}

/// Registers `id` with these keys. `answer` makes the token from the challenge. Returns true if the emulator accepts it.
pub(super) async fn registers(
    dps: &Dps,
    transport: &str,
    id: &str,
    keys: &Keys,
    answer: impl AsyncFn(&AuthenticationKey) -> String,
) -> bool {
    if transport == "HTTPS" {
        let body = json!({
            "registrationId": id,
            "tpm": { "endorsementKey": keys.endorsement, "storageRootKey": keys.storage },
        });
        let challenge = dps.device(id).register_with(body.clone()).await;
        assert!(challenge.status >= 400, "{challenge:?}");
        let Value::String(blob) = &challenge.json()["authenticationKey"] else {
            return false;
        };
        let blob = AuthenticationKey::from_base64(blob).expect("six parts");
        let token = answer(&blob).await;
        let registered = dps.device(id).token(token).register_with(body).await;
        return registered.status < 400;
    }
    let open = async |port| {
        let stream = connect(port, tls(dps.emulator.ca_pem(), None)).await;
        stream.expect("TLS")
    };
    let stream: Box<dyn Stream> = match transport {
        "AMQP" => Box::new(open(dps.emulator.amqp_port()).await),
        _ => {
            let (stream, path) = (open(dps.port).await, "/$iothub/websocket");
            let socket = WebSocketIo::connect(stream, "localhost", path, "AMQPWSB10", 64 * 1024);
            Box::new(socket.await.expect("a WebSocket"))
        }
    };
    over_amqp(stream, id, keys, answer).await.unwrap_or(false)
}

/// `None` if the emulator ends the connection.
async fn over_amqp(
    stream: Box<dyn Stream>,
    id: &str,
    keys: &Keys,
    answer: impl AsyncFn(&AuthenticationKey) -> String,
) -> Option<bool> {
    let mut frames = Frames::new(stream, 64 * 1024);
    let [endorsement, storage] =
        [&keys.endorsement, &keys.storage].map(|key| STANDARD.decode(key).expect("base64"));
    let scope = "0ne00000001";
    let begun = Tpm::begin(&mut frames, (scope, id), &endorsement, &storage).await;
    let (tpm, challenge) = begun.ok()?;
    let challenge = AuthenticationKey::from_base64(&STANDARD.encode(&*challenge));
    let token = answer(&challenge.expect("six parts")).await;
    tpm.finish(&mut frames, &token).await.ok()?;
    let address = format!("{scope}/registrations/{id}");
    let options = ClientOptions::new("forger", "localhost", address)
        .with_link_property("com.microsoft:api-version", "2019-03-31");
    let mut client = AmqpClient::open(frames, &options).await.ok()?;
    let body = json!({ "registrationId": id }).to_string();
    let mut request = Message::data(body.into_bytes()).with_property(
        "iotdps-operation-type",
        Property::Text("iotdps-register".into()),
    );
    request.correlation_id = Some(CorrelationId::text("1"));
    let answer = client.request(&request).await.ok()?;
    Some(matches!(answer, AmqpAnswer::Message(_)))
}
