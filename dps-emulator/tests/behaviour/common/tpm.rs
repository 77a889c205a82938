//! A device with a TPM, request by request.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_device::attestation::TpmKeys;
use dps_hardware::SoftwareTpm;
use dps_types::tpm::AuthenticationKey;
use serde_json::{Value, json};

use super::{Answer, Device, Sas, Wire};

/// A device of this name with this TPM.
pub(crate) struct TpmDevice {
    wire: Wire,
    id: String,
    pub(crate) tpm: SoftwareTpm,
}

/// An enrollment document of a device with this TPM.
pub(crate) fn tpm_enrollment(id: &str, tpm: &SoftwareTpm) -> Value {
    let endorsement_key = tpm.endorsement_key().to_base64();
    json!({
        "registrationId": id,
        "attestation": { "type": "tpm", "tpm": { "endorsementKey": endorsement_key } },
    })
}

/// The keys as a device shows them.
pub(crate) fn shown(tpm: &SoftwareTpm) -> Value {
    json!({
        "endorsementKey": tpm.endorsement_key().to_base64(),
        "storageRootKey": tpm.storage_root_key().to_base64(),
    })
}

impl TpmDevice {
    pub(crate) fn new(wire: &Wire, id: &str, tpm: SoftwareTpm) -> Self {
        Self {
            wire: wire.clone(),
            id: id.to_owned(),
            tpm,
        }
    }

    /// The body of a registration that shows the keys.
    pub(crate) fn body(&self) -> Value {
        json!({ "registrationId": self.id, "tpm": shown(&self.tpm) })
    }

    /// The device without a token.
    pub(crate) fn unsigned(&self) -> Device {
        self.wire.device(&self.id)
    }

    /// Requests a challenge. Returns the answer.
    pub(crate) async fn ask(&self) -> Answer {
        self.unsigned().register_with(self.body()).await
    }

    /// Opens a challenge. Returns the device with a token that the key of the challenge signed.
    pub(crate) async fn open(&self, challenge: &Answer) -> Device {
        assert_eq!(challenge.status, 401, "{challenge:?}");
        let key = blob(&challenge.json()["authenticationKey"]);
        self.tpm.activate(&key).await.expect("it is for this TPM");
        let key = self.tpm.challenge_key().expect("it was opened");
        assert_eq!(key.len(), 32);
        let sas = Sas::device(&self.wire.scope, &self.id);
        let token = sas.sign(&STANDARD.encode(key));
        self.unsigned().token(token)
    }

    /// Requests and opens a challenge. Returns the device with its token.
    pub(crate) async fn challenged(&self) -> Device {
        self.open(&self.ask().await).await
    }

    /// Registers. Returns the registration of a device that was assigned.
    pub(crate) async fn assigned(&self) -> Value {
        let mut document = self.challenged().await.provision().await;
        assert_eq!(document["status"], "assigned", "{document}");
        document["registrationState"].take()
    }

    /// Opens the hub key of a registration.
    pub(crate) async fn hub_key(&self, state: &Value) -> Vec<u8> {
        let key = blob(&state["tpm"]["authenticationKey"]);
        let kept = self.tpm.keep_hub_key(&key).await;
        kept.unwrap_or_else(|error| panic!("{error}: {state}"));
        self.tpm.hub_key().expect("it was kept")
    }
}

fn blob(text: &Value) -> AuthenticationKey {
    let text = text.as_str().expect("a key");
    AuthenticationKey::from_base64(text).expect("six parts")
}
