//! The id scope, the host and the registration id, as they are written.

use super::finding::Findings;
use crate::context::Context;
use crate::device::DeviceOptions;

/// The host suffixes of DPS in the public cloud and in the sovereign clouds.
const CLOUDS: [&str; 3] = [
    "azure-devices-provisioning.net",
    "azure-devices-provisioning.us",
    "azure-devices-provisioning.cn",
];

pub(super) fn check(device: &DeviceOptions, context: &Context, findings: &mut Findings) {
    match device.id_scope(context) {
        Err(failure) => findings.problem(
            "id scope",
            failure.to_string(),
            "copy the id scope from the overview page of the instance, such as 0ne00000001; it is not the name of the instance",
        ),
        Ok(scope) if !scope.as_str().to_ascii_lowercase().starts_with("0ne") => findings.warning(
            "id scope",
            format!("{scope} does not begin with 0ne"),
            "the id scopes of Azure begin with 0ne: check that this is not the name of the instance or of a hub",
        ),
        Ok(scope) => findings.ok("id scope", scope.as_str()),
    }
    match device.host(context) {
        Err(failure) => findings.problem(
            "host",
            failure.to_string(),
            "pass a host name without scheme, port and path",
        ),
        Ok(host) => check_host(host.as_str(), findings),
    }
    let Some(id) = device.registration_id() else {
        return;
    };
    check_registration_id(id.as_str(), findings);
}

fn check_registration_id(id: &str, findings: &mut Findings) {
    let warned = [
        (
            id.contains(|c: char| c.is_ascii_uppercase()),
            "uppercase letters",
            "the registration id of a certificate and of a derived key must be written exactly as in the enrollment: use lowercase \
             letters everywhere",
        ),
        (
            id.contains(':'),
            "a colon",
            "DPS accepts it, but clients that do not encode it in the URL and in the SAS token are refused: use letters, digits and - only",
        ),
    ];
    let mut found = warned.iter().filter(|(found, ..)| *found).peekable();
    if found.peek().is_none() {
        findings.ok("registration id", id);
    }
    for (_, what, advice) in found {
        findings.warning("registration id", format!("{id} contains {what}"), *advice);
    }
}

fn check_host(host: &str, findings: &mut Findings) {
    let lower = host.to_ascii_lowercase();
    if lower.ends_with(".azure-devices.net")
        || lower.ends_with(".azure-devices.us")
        || lower.ends_with(".azure-devices.cn")
    {
        return findings.problem(
            "host",
            format!("{host} is an IoT hub, not DPS"),
            "use global.azure-devices-provisioning.net (or .us and .cn in the sovereign clouds); the assignment names the hub",
        );
    }
    let is_cloud = CLOUDS.iter().any(|cloud| lower.ends_with(cloud));
    if is_cloud && lower.starts_with("global.") || lower == "localhost" || !lower.contains("azure")
    {
        return findings.ok("host", host);
    }
    match is_cloud {
        true => findings.warning(
            "host",
            format!("{host} is the service endpoint of an instance"),
            "devices normally use global.azure-devices-provisioning.net",
        ),
        false => findings.warning(
            "host",
            format!("{host} is not a known host of DPS"),
            "the hosts are global.azure-devices-provisioning.net, .us (US government) and .cn (China)",
        ),
    }
}
