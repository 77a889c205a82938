//! The usual confusions of symmetric keys, each of them tried: a group key in place of a device key, a derived key that is derived
//! again, and a registration id in other letters.

use dps_device::{
    Attestation, ErrorKind, Host, Http, IdScope, ProvisioningClient, SymmetricKey,
    SymmetricKeyAttestation, Transport,
};

use super::place::LOOKUP;
use crate::context::Context;
use crate::device::DeviceOptions;

/// Returns the advice for the first attempt that the service accepts.
pub(super) async fn find(device: &DeviceOptions, context: &Context) -> Option<&'static str> {
    let (key, is_group) = device.attestation().any_key().ok()??;
    let id = device.registration_id()?.clone();
    let scope = device.id_scope(context).ok()?;
    let host = device.host(context).ok()?;
    let mut attempts = vec![match is_group {
        false => (
            SymmetricKeyAttestation::from_group(id.clone(), &key),
            "this is the key of an enrollment group: pass it with --group-key-file, or derive the key of the device with \
             dps compute-device-key",
        ),
        true => (
            SymmetricKeyAttestation::new(id.clone(), key.clone()),
            "this is the key of the device, not of a group: pass it with --key-file; it must not be derived",
        ),
    }];
    if id.as_str().contains(|c: char| c.is_ascii_uppercase()) {
        let advice =
            "the key belongs to the registration id in lowercase letters: write it in lowercase";
        attempts.push((lowercase(&id, &key, is_group)?, advice));
    }
    for (attestation, advice) in attempts {
        if accepted(attestation, device, &scope, &host, context).await {
            return Some(advice);
        }
    }
    None
}

fn lowercase(
    id: &dps_device::RegistrationId,
    key: &SymmetricKey,
    is_group: bool,
) -> Option<SymmetricKeyAttestation> {
    let lower: dps_device::RegistrationId = id.as_str().to_ascii_lowercase().parse().ok()?;
    Some(match is_group {
        true => SymmetricKeyAttestation::from_group(lower, key),
        false => SymmetricKeyAttestation::new(lower, key.clone()),
    })
}

async fn accepted(
    attestation: impl Attestation + 'static,
    device: &DeviceOptions,
    scope: &IdScope,
    host: &Host,
    context: &Context,
) -> bool {
    let options = device.transport_options();
    let is_mqtt = options.is_mqtt();
    let transport: Box<dyn Transport> = match is_mqtt {
        true => options.transport(),
        // AMQP has no lookup.
        false => Box::new(Http::default().with_port(options.https_port)),
    };
    let mut client =
        ProvisioningClient::new(scope.clone(), attestation, transport).with_host(host.clone());
    if let Ok(Some(roots)) = device.network().roots(context) {
        client = client.with_roots(roots);
    }
    if let Ok(Some(proxy)) = device.network().proxy(context) {
        client = client.with_proxy(proxy);
    }
    match client.lookup().timeout(LOOKUP).await {
        Ok(_) => true,
        Err(error) => match error.kind() {
            ErrorKind::NotFound => true,
            // MQTT has no lookup either, but it has connected.
            ErrorKind::Unsupported => is_mqtt,
            _ => false,
        },
    }
}
