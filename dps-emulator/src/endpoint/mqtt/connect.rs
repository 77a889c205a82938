//! CONNECT: who is there, and may it come in.

use std::time::Duration;

use dps_mqtt::Connect;
use dps_types::protocol::mqtt::Username;
use dps_types::sas::SasToken;

use super::super::{Gateway, Peer};
use crate::attest::Presented;
use crate::provision::Device;
use crate::refusal::Refusal;

/// How long a client without a keep-alive may be silent.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A client that was let in.
pub(super) struct Client<'a> {
    username: Username,
    presented: Presented<'a>,
    /// How long it may be silent: one and a half times its keep-alive (MQTT-3.1.2-24).
    pub(super) patience: Duration,
}

impl<'a> Client<'a> {
    /// Reads who it is from the username, and verifies the token in the password or the certificate.
    pub(super) async fn admit(
        gateway: &Gateway,
        peer: &'a Peer,
        connect: &Connect,
    ) -> Result<Self, Refusal> {
        let username: Username = connect.username.as_deref().unwrap_or_default().parse()?;
        if !connect
            .client_id
            .eq_ignore_ascii_case(username.registration_id.as_str())
        {
            return Err(Refusal::invalid("the client id is not the registration id"));
        }
        if !username.api_version.is_known() {
            return Err(Refusal::invalid("the api-version is not known"));
        }
        let password = connect
            .password
            .as_ref()
            .map(|password| password.as_str())
            .filter(|text| !text.is_empty());
        let presented = match (password, &peer.chain) {
            (Some(text), _) => Presented::Token(
                text.parse::<SasToken>()
                    .map_err(|_| Refusal::unauthorized())?,
            ),
            (None, Some(chain)) => Presented::Chain(chain),
            (None, None) => Presented::Nothing,
        };
        let patience = match connect.keep_alive {
            0 => FOREVER,
            seconds => Duration::from_millis(u64::from(seconds) * 1500),
        };
        let client = Self {
            username,
            presented,
            patience,
        };
        gateway.engine.admit(client.device()).await?;
        Ok(client)
    }

    pub(super) fn device(&self) -> Device<'_> {
        Device {
            id_scope: &self.username.id_scope,
            registration_id: &self.username.registration_id,
            presented: self.presented.clone(),
            api_version: self.username.api_version,
            takes_challenge: false,
        }
    }
}
