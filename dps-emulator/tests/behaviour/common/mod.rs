//! Test support: an emulator, clients that share no code with it, webhooks, and the program.

mod clock;
mod control;
mod csr;
mod database;
mod device;
mod hook;
mod hub;
mod mqtt;
mod program;
mod sas;
mod shared;
mod tls;
mod tpm;
mod wire;

use std::ops::Deref;
use std::time::Duration;

use dps_emulator::{Emulator, EmulatorBuilder, HubHandle};
use serde_json::{Value, json};

pub(crate) use clock::TestClock;
pub(crate) use control::{Control, with_control};
pub(crate) use csr::{Csr, issuing};
pub(crate) use database::Database;
pub(crate) use device::Device;
pub(crate) use hook::{Hook, serve};
pub(crate) use hub::HubApi;
pub(crate) use mqtt::{
    ACCEPTED, Client, Connect, DESIRED, DISCONNECT, FILTER, GET, NOT_AUTHORIZED, PINGREQ, PINGRESP,
    REGISTER, REPORT, RESPONSES, STATUS, Transport, Ws, handshake, head, hub_token, publish,
    publish_at_most_once, subscribe, unsubscribe,
};
pub(crate) use program::Program;
pub(crate) use sas::{FOREVER, Sas, derive, percent, token, token_until, unix_now};
pub(crate) use shared::shared;
pub(crate) use tls::{Tls, connect, tls};
pub(crate) use tpm::{TpmDevice, shown, tpm_enrollment};
pub(crate) use wire::{Answer, Wire};

/// Keys of 32 bytes, all different.
pub(crate) const KEY_1: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
pub(crate) const KEY_2: &str = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY=";
pub(crate) const KEY_3: &str = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpBQkNERUY=";

/// The time after which a test fails because the emulator does not answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// An emulator, and its wire.
pub(crate) struct Dps {
    pub(crate) emulator: Emulator,
    wire: Wire,
}

impl Dps {
    /// An emulator with the hub `127.0.0.1` and a `Retry-After` of zero.
    pub(crate) async fn start() -> Self {
        Self::start_with(|builder| builder).await
    }

    pub(crate) async fn start_with(
        choose: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder,
    ) -> Self {
        let builder = Emulator::builder().retry_after(Duration::ZERO);
        #[cfg(feature = "postgres")]
        let builder = with_test_store(builder).await;
        let emulator = choose(builder).start().await.expect("the emulator starts");
        let wire = Wire::new(
            &emulator.https_url(),
            emulator.id_scope().as_str(),
            emulator.ca_pem(),
            &emulator.service_connection_string(),
        );
        Self { emulator, wire }
    }

    /// As [`start`](Self::start), with an enrollment of the device `dev-1`.
    pub(crate) async fn with_device() -> Self {
        let dps = Self::start().await;
        dps.enroll("dev-1").await;
        dps
    }

    /// Enrolls a device with [`KEY_1`] and [`KEY_2`].
    pub(crate) async fn enroll(&self, id: &str) {
        let document = key_enrollment(id, KEY_1, KEY_2);
        self.create(&format!("/enrollments/{id}"), &document).await;
    }

    /// The hub that an emulator has unless others are linked.
    pub(crate) fn default_hub(&self) -> HubHandle {
        self.hub("127.0.0.1")
    }

    /// A linked hub.
    pub(crate) fn hub(&self, name: &str) -> HubHandle {
        self.emulator.hub(name).expect("linked")
    }

    /// Its REST API.
    pub(crate) fn hub_api(&self, name: &str) -> HubApi {
        HubApi::new(&self.wire, &self.hub(name))
    }
}

impl Deref for Dps {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

/// An enrollment document of a device with these keys.
pub(crate) fn key_enrollment(id: &str, primary: &str, secondary: &str) -> Value {
    json!({ "registrationId": id, "attestation": keys(primary, secondary) })
}

/// An enrollment group with these keys.
pub(crate) fn key_group(id: &str, primary: &str, secondary: &str) -> Value {
    json!({ "enrollmentGroupId": id, "attestation": keys(primary, secondary) })
}

/// An enrollment document of a device with this certificate.
pub(crate) fn certificate_enrollment(id: &str, pem: &str) -> Value {
    json!({
        "registrationId": id,
        "attestation": {
            "type": "x509",
            "x509": { "clientCertificates": { "primary": { "certificate": pem } } },
        },
    })
}

/// An enrollment group for what this certificate signed.
pub(crate) fn certificate_group(id: &str, pem: &str) -> Value {
    json!({
        "enrollmentGroupId": id,
        "attestation": {
            "type": "x509",
            "x509": { "signingCertificates": { "primary": { "certificate": pem } } },
        },
    })
}

/// The document with other fields on top.
pub(crate) fn with(mut document: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else {
        panic!("fields are an object");
    };
    for (name, value) in fields {
        document[name] = value;
    }
    document
}

fn keys(primary: &str, secondary: &str) -> Value {
    json!({
        "type": "symmetricKey",
        "symmetricKey": { "primaryKey": primary, "secondaryKey": secondary },
    })
}

/// The names of an object's fields, in their order.
pub(crate) fn names(object: &Value) -> Vec<&str> {
    let fields = object.as_object().expect("an object");
    fields.keys().map(String::as_str).collect()
}

/// `2022-08-31T22:02:50.5163352Z`: up to seven fractional digits, without trailing zeros.
pub(crate) fn assert_timestamp(value: &Value) {
    let text = value.as_str().expect("a timestamp is text");
    let (whole, fraction) = text
        .strip_suffix('Z')
        .map(|text| text.split_once('.').unwrap_or((text, "1")))
        .unwrap_or_else(|| panic!("{text} is not UTC"));
    let shape: String = whole
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00", "{text}");
    assert!(
        (1..=7).contains(&fraction.len())
            && fraction.bytes().all(|byte| byte.is_ascii_digit())
            && !fraction.ends_with('0'),
        "{text}"
    );
}

/// Base64 of `"69003552-0000-0300-0000-630fda8a0000"`, quotes included.
pub(crate) fn assert_etag(value: &Value) {
    let stored = stored_etag(value);
    let shape: String = stored
        .chars()
        .map(|c| if c.is_ascii_hexdigit() { 'x' } else { c })
        .collect();
    assert_eq!(
        shape, "\"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx\"",
        "{stored}"
    );
}

/// Decodes an ETag.
pub(crate) fn stored_etag(value: &Value) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let bytes = STANDARD.decode(value.as_str().expect("an ETag is text"));
    String::from_utf8(bytes.expect("an ETag is base64")).expect("of text")
}

/// `5.{16 hex digits}.{guid}`
pub(crate) fn assert_operation_id(text: &str) {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_hexdigit() { 'x' } else { c })
        .collect();
    assert_eq!(
        shape, "x.xxxxxxxxxxxxxxxx.xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        "{text}"
    );
    assert!(text.starts_with("5."), "{text}");
}

/// A linked hub, from the syntax of the command line.
pub(crate) fn linked(text: &str) -> dps_emulator::LinkedHub {
    text.parse().expect("a hub")
}

/// A latency, from the syntax of the command line.
pub(crate) fn latency(text: &str) -> dps_emulator::Latency {
    text.parse().expect("a latency")
}

/// A CA certificate whose possession is proven.
pub(crate) fn verified_ca(name: &str, pem: &str) -> dps_emulator::VerifiedCa {
    dps_emulator::VerifiedCa::from_pem(name, pem).expect("a certificate")
}

/// Keeps the state in a new schema of the PostgreSQL database that the variable `DPS_TEST_STORE` names, if it is set.
#[cfg(feature = "postgres")]
async fn with_test_store(builder: EmulatorBuilder) -> EmulatorBuilder {
    use dps_emulator::store::{PostgresStore, PostgresUrl};

    let Ok(url) = std::env::var("DPS_TEST_STORE") else {
        return builder;
    };
    let schema = format!("test_{}", uuid::Uuid::new_v4().simple());
    let url = format!("{url}?schema={schema}&max_connections=4&timeout=60");
    let url = url.parse::<PostgresUrl>().expect("a URL");
    let store = PostgresStore::connect(&url).await.expect("the database");
    builder.store(std::sync::Arc::new(store))
}
