//! A SAS token of another program: its fields, its resource, its expiry, and its signature.

use std::time::SystemTime;

use dps_types::Timestamp;
use dps_types::protocol::device::SAS_POLICY;
use dps_types::sas::SasToken;

use super::finding::Findings;
use crate::context::Context;
use crate::device::DeviceOptions;
use crate::failure::Result;
use crate::input::{self, InputFile};

const CHECK: &str = "SAS token";

pub(super) fn check(
    file: &InputFile,
    device: &DeviceOptions,
    context: &Context,
    findings: &mut Findings,
) -> Result {
    let text = input::read_text(file)?;
    let token: SasToken = match text.trim().parse() {
        Ok(token) => token,
        Err(error) => {
            let error: dps_types::ParseError = error;
            findings.problem(
                CHECK,
                format!("it cannot be read: {}", error.reason()),
                "the form is SharedAccessSignature sr=...&sig=...&se=...&skn=registration, with percent-encoded values",
            );
            return Ok(());
        }
    };
    let before = findings.has_problems();
    fields(&token, findings);
    let expected = device.registration_id().zip(device.id_scope(context).ok());
    if let Some((id, scope)) = expected {
        let resource = format!("{scope}/registrations/{id}");
        if !token.covers(&resource) {
            findings.problem(
                CHECK,
                format!("it is for {}, not for {resource}", token.resource()),
                "sr must be SCOPE/registrations/ID",
            );
        }
    }
    if let Some(key) = device.symmetric_key()?
        && !token.verify(&key)
    {
        findings.problem(
                CHECK,
                "it was not signed with this key",
                "sign the encoded sr, a line feed, and se, with HMAC-SHA256 and the decoded key; devices of a group use a derived key",
            );
    }
    if !before && !findings.has_problems() {
        findings.ok(
            CHECK,
            format!("valid until {}", Timestamp::from(token.expires_at())),
        );
    }
    Ok(())
}

fn fields(token: &SasToken, findings: &mut Findings) {
    let expiry = token.expires_at();
    if expiry <= SystemTime::now() {
        findings.problem(
            CHECK,
            format!("it expired at {}", Timestamp::from(expiry)),
            "create a token for each connection; se is in seconds since 1970, UTC",
        );
    }
    match token.policy() {
        Some(SAS_POLICY) => {}
        Some(other) => {
            findings.problem(CHECK, format!("skn is {other}"), "skn must be registration");
        }
        None => findings.warning(
            CHECK,
            "skn is missing",
            "add skn=registration: MQTT and AMQP require it",
        ),
    }
    if token.resource().contains("/devices/") {
        findings.problem(
            CHECK,
            "it is a token for an IoT hub",
            "for DPS, sr is SCOPE/registrations/ID",
        );
    }
}
