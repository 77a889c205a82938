//! The options of `create` and `update` that both kinds of enrollment have, as fields of the document.

use std::str::FromStr;

use clap::{Args, ValueEnum};
use dps_types::{
    CertificateAuthorityName, CertificatePolicyName, HubHostname, NamespaceName, ParseError,
};
use serde_json::{Map, Value, json};

use super::kind::Kind;
use crate::document::add;
use crate::failure::{Failure, Result};
use crate::input::{self, InputFile, TextOrFile};

/// The fields of an enrollment as options.
#[derive(Args)]
pub(crate) struct Settings {
    /// X.509 attestation: file with the certificate of the device, or of the signing CA for a group
    #[arg(long, value_name = "FILE", group = "attestation_option")]
    certificate: Option<InputFile>,
    /// File with the certificate that replaces the first one
    #[arg(long, value_name = "FILE", requires = "certificate")]
    secondary_certificate: Option<InputFile>,
    /// Symmetric key attestation: file with the primary key in base64; - for stdin. Without it, the variable DPS_PRIMARY_KEY;
    /// without both, the service generates the keys
    #[arg(long, value_name = "FILE", group = "attestation_option")]
    primary_key_file: Option<InputFile>,
    /// File with the secondary key; without it, the variable DPS_SECONDARY_KEY
    #[arg(long, value_name = "FILE")]
    secondary_key_file: Option<InputFile>,
    /// Hub that devices may be assigned to; repeat it for several. All linked hubs by default
    #[arg(long = "hub", value_name = "HOSTNAME")]
    hubs: Vec<HubHostname>,
    /// How a hub is chosen. By default static for one hub and hashed for several
    #[arg(long, value_enum, value_name = "POLICY")]
    allocation_policy: Option<Allocation>,
    /// Webhook for custom allocation: its URL, or @FILE, since the URL contains the function key
    #[arg(long, value_name = "URL")]
    webhook_url: Option<TextOrFile>,
    /// API version that the webhook expects
    #[arg(long, value_name = "VERSION", default_value = "2021-10-01")]
    webhook_api_version: String,
    /// What happens to a device that registers again
    #[arg(long, value_enum, value_name = "POLICY")]
    reprovision: Option<Reprovision>,
    /// Whether devices may register
    #[arg(long, value_enum, value_name = "STATUS")]
    provisioning_status: Option<Status>,
    /// Whether the device is an IoT Edge device
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    edge: Option<bool>,
    /// Certificate authority and policy that issue certificates to devices, as NAMESPACE/AUTHORITY/POLICY
    #[arg(long, value_name = "NAMES")]
    certificate_authority: Option<CertificateIssuer>,
    /// Tags of the initial twin: a JSON object, or @FILE
    #[arg(long, value_name = "JSON")]
    tags: Option<TextOrFile>,
    /// Desired properties of the initial twin: a JSON object, or @FILE
    #[arg(long, value_name = "JSON")]
    desired: Option<TextOrFile>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Allocation {
    /// Evenly weighted
    Hashed,
    /// Lowest latency
    #[value(name = "geoLatency", alias = "geo-latency")]
    GeoLatency,
    /// Always the first hub
    Static,
    /// A webhook decides
    Custom,
}

#[derive(Clone, Copy, ValueEnum)]
enum Reprovision {
    /// Move the device, with its device twin
    Migrate,
    /// Move the device, with the initial twin
    Reset,
    /// Keep the device at its hub
    Never,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Enabled,
    Disabled,
}

/// The names of a certificate authority and of its policy.
#[derive(Debug, Clone)]
struct CertificateIssuer {
    namespace: NamespaceName,
    authority: CertificateAuthorityName,
    policy: CertificatePolicyName,
}

impl FromStr for CertificateIssuer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<_> = text.split('/').collect();
        let [namespace, authority, policy] = names[..] else {
            return Err(format!("{text} is not NAMESPACE/AUTHORITY/POLICY"));
        };
        let invalid = |error: ParseError| error.to_string();
        Ok(Self {
            namespace: namespace.parse().map_err(invalid)?,
            authority: authority.parse().map_err(invalid)?,
            policy: policy.parse().map_err(invalid)?,
        })
    }
}

impl Settings {
    /// The attestation that the options select. `None` if no option concerns it.
    pub(super) fn attestation<K: Kind>(&self, own: &K) -> Result<Option<Value>> {
        if let Some(attestation) = own.attestation()? {
            return Ok(Some(attestation));
        }
        if let Some(file) = &self.certificate {
            let secondary = self.secondary_certificate.as_ref();
            let mut certificates = json!({"primary": {"certificate": &**input::read_text(file)?}});
            if let Some(file) = secondary {
                let certificate = json!({"certificate": &**input::read_text(file)?});
                add(&mut certificates, "secondary", certificate);
            }
            let member = if K::SIGNS {
                "signingCertificates"
            } else {
                "clientCertificates"
            };
            return Ok(Some(
                json!({"type": "x509", "x509": {member: certificates}}),
            ));
        }
        let primary = input::key(self.primary_key_file.as_ref(), "DPS_PRIMARY_KEY")?;
        let secondary = input::key(self.secondary_key_file.as_ref(), "DPS_SECONDARY_KEY")?;
        match (primary, secondary) {
            (None, None) => Ok(None),
            (Some(primary), Some(secondary)) => Ok(Some(json!({
                "type": "symmetricKey",
                "symmetricKey": {"primaryKey": &**primary.to_base64(), "secondaryKey": &**secondary.to_base64()},
            }))),
            _ => Err(Failure::usage("one of the two symmetric keys is missing")
                .with_hint("pass both keys, or none: the service then generates both")),
        }
    }

    /// Writes the other options into the document.
    pub(super) fn apply(&self, document: &mut Map<String, Value>) -> Result {
        let mut set = |name: &str, value: Value| document.insert(name.to_owned(), value);
        if !self.hubs.is_empty() {
            set("iotHubs", json!(self.hubs));
        }
        if let Some(url) = &self.webhook_url {
            let url = input::value_or_file(url)?;
            let definition =
                json!({"webhookUrl": url.as_str(), "apiVersion": self.webhook_api_version});
            set("customAllocationDefinition", definition);
        }
        if let Some(policy) = self.allocation_policy {
            set("allocationPolicy", name(policy));
        }
        if let Some(policy) = self.reprovision {
            let (update, migrate) = match policy {
                Reprovision::Migrate => (true, true),
                Reprovision::Reset => (true, false),
                Reprovision::Never => (false, false),
            };
            set(
                "reprovisionPolicy",
                json!({"updateHubAssignment": update, "migrateDeviceData": migrate}),
            );
        }
        if let Some(status) = self.provisioning_status {
            set("provisioningStatus", name(status));
        }
        if let Some(edge) = self.edge {
            set("capabilities", json!({"iotEdge": edge}));
        }
        if let Some(issuer) = &self.certificate_authority {
            set("namespaceName", json!(issuer.namespace));
            set("certificateAuthorityName", json!(issuer.authority));
            set("certificatePolicyName", json!(issuer.policy));
        }
        if self.allocation_policy.is_none() {
            self.default_policy(document);
        }
        if let Some(tags) = &self.tags {
            let twin = child(document, "initialTwin")?;
            twin.insert("tags".into(), object("--tags", tags)?);
        }
        if let Some(desired) = &self.desired {
            let properties = child(child(document, "initialTwin")?, "properties")?;
            properties.insert("desired".into(), object("--desired", desired)?);
        }
        Ok(())
    }

    /// The service requires a policy for a list of hubs, and the policy custom for a webhook.
    fn default_policy(&self, document: &mut Map<String, Value>) {
        let policy = document
            .get("allocationPolicy")
            .filter(|policy| !policy.is_null());
        if self.webhook_url.is_some() {
            document.insert("allocationPolicy".into(), name(Allocation::Custom));
        } else if policy.is_none() && !self.hubs.is_empty() {
            let policy = if self.hubs.len() == 1 {
                Allocation::Static
            } else {
                Allocation::Hashed
            };
            document.insert("allocationPolicy".into(), name(policy));
        }
    }
}

/// A JSON object in a document, created if it is missing or null.
fn child<'d>(
    document: &'d mut Map<String, Value>,
    name: &str,
) -> Result<&'d mut Map<String, Value>> {
    let child = document.entry(name).or_insert_with(|| json!({}));
    if child.is_null() {
        *child = json!({});
    }
    child
        .as_object_mut()
        .ok_or_else(|| Failure::usage(format!("{name} is not a JSON object")))
}

fn object(option: &str, text: &TextOrFile) -> Result<Value> {
    let text = input::value_or_file(text)?;
    let value: Value =
        serde_json::from_str(&text).map_err(|error| Failure::from(error).about(option))?;
    match value {
        Value::Object(_) => Ok(value),
        _ => Err(Failure::usage(format!(
            "{option} is not a JSON object, such as {{\"mode\": \"eco\"}}"
        ))),
    }
}

fn name(value: impl ValueEnum) -> Value {
    value
        .to_possible_value()
        .map_or(Value::Null, |value| value.get_name().into())
}
