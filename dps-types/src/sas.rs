//! A signed, expiring claim to one resource: make, parse, verify. Signing goes through a trait so a key may live in an HSM.
//!
//! ```text
//! SharedAccessSignature sr={resource}&sig={HMAC-SHA256 of "{sr}\n{se}"}&se={unix seconds}[&skn={policy}]
//! ```
//! Sources: azure-docs `iot-dps/iot-dps-https-sym-key-support.md` (device), `concepts-control-access-dps.md` (service).

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::protocol::{decode, encode};
use crate::{ParseError, SymmetricKey};

const SCHEME: &str = "SharedAccessSignature";
const EXPECTED: &str = "SAS token";

/// HMAC-SHA256, wherever the key lives: in memory, in a TPM, in a PKCS#11 token.
#[async_trait]
pub trait Sign: Send + Sync {
    /// Signs the data.
    ///
    /// # Errors
    /// When the device that holds the key refuses or is gone.
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError>;
}

/// An HMAC-SHA256 value.
#[derive(Clone, Copy)]
#[allow(clippy::exhaustive_structs)] // An HMAC-SHA256 is 32 bytes.
pub struct Signature(pub [u8; 32]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

/// A key that could not sign.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SignError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SignError {
    /// An error with what went wrong, and for whom to look.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// A claim that is not signed yet: who may have what, until when.
#[derive(Debug, Clone)]
pub struct SasTokenBuilder<'a> {
    resource: &'a str,
    expiry: u64,
    policy: Option<&'a str>,
}

impl<'a> SasTokenBuilder<'a> {
    /// A claim to the resource (not encoded) until `expiry`, in seconds since 1970.
    pub fn new(resource: &'a str, expiry: u64) -> Self {
        Self {
            resource,
            expiry,
            policy: None,
        }
    }

    /// Names the policy whose key signs: the token's `skn`.
    #[must_use]
    pub fn policy(mut self, name: &'a str) -> Self {
        self.policy = Some(name);
        self
    }

    /// Signs with a key wherever it lives.
    ///
    /// # Errors
    /// When the signer fails.
    pub async fn sign(self, signer: &dyn Sign) -> Result<SasToken, SignError> {
        let signature = signer.sign(self.to_sign().as_bytes()).await?;
        Ok(self.signed(signature))
    }

    /// Signs with a key in memory.
    pub fn sign_with(self, key: &SymmetricKey) -> SasToken {
        let signature = Signature(key.hmac_sha256(self.to_sign().as_bytes()));
        self.signed(signature)
    }

    fn to_sign(&self) -> String {
        to_sign(&encode(self.resource), self.expiry_text().as_str())
    }

    fn expiry_text(&self) -> String {
        self.expiry.to_string()
    }

    fn signed(self, signature: Signature) -> SasToken {
        SasToken {
            sr: encode(self.resource),
            resource: self.resource.to_owned(),
            signature,
            se: self.expiry_text(),
            expiry: self.expiry,
            policy: self.policy.map(str::to_owned),
        }
    }
}

/// A shared access signature. Debug shows no signature.
#[derive(Clone)]
pub struct SasToken {
    /// As it stands in the token: the signature covers this text, however it is encoded.
    sr: String,
    resource: String,
    signature: Signature,
    /// As it stands in the token, for the same reason.
    se: String,
    expiry: u64,
    policy: Option<String>,
}

impl SasToken {
    /// When the claim ends, in seconds since 1970.
    pub fn expiry(&self) -> u64 {
        self.expiry
    }

    /// The policy that the token names (`skn`).
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// The resource, decoded.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Whether the claim is to `resource` or to a folder above it, without regard to case.
    pub fn covers(&self, resource: &str) -> bool {
        let claimed = self.resource.trim_end_matches('/');
        match resource.get(..claimed.len()) {
            Some(head) if !claimed.is_empty() && head.eq_ignore_ascii_case(claimed) => {
                matches!(resource.as_bytes().get(claimed.len()), None | Some(b'/'))
            }
            _ => false,
        }
    }

    /// Whether the key made the signature. Looks at the text of `sr` as it came, since clients encode
    /// differently, and takes the same time whatever differs.
    pub fn verify(&self, key: &SymmetricKey) -> bool {
        let made = key.hmac_sha256(to_sign(&self.sr, &self.se).as_bytes());
        made.ct_eq(&self.signature.0).into()
    }

    /// The token, for an `Authorization` header or an MQTT password. It is a secret until it expires.
    pub fn to_text(&self) -> Zeroizing<String> {
        let sig = Zeroizing::new(STANDARD.encode(self.signature.0));
        let mut text = format!(
            "{SCHEME} sr={}&sig={}&se={}",
            self.sr,
            encode(&sig),
            self.se
        );
        if let Some(policy) = &self.policy {
            text.push_str("&skn=");
            text.push_str(&encode(policy));
        }
        Zeroizing::new(text)
    }
}

impl FromStr for SasToken {
    type Err = ParseError;

    /// Strict: the fields in any order, each once, no other. The error repeats nothing of the text.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason: &'static str| ParseError::new(EXPECTED, reason);
        let fields = match text.trim().split_once(' ') {
            Some((scheme, fields)) if scheme.eq_ignore_ascii_case(SCHEME) => fields.trim(),
            _ => return Err(wrong("it does not begin with SharedAccessSignature")),
        };
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for field in fields.split('&') {
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| wrong("a field has no '='"))?;
            let slot = match name {
                "sr" => &mut sr,
                "sig" => &mut sig,
                "se" => &mut se,
                "skn" => &mut skn,
                _ => return Err(wrong("there is a field other than sr, sig, se and skn")),
            };
            if slot.replace(value).is_some() {
                return Err(wrong("a field appears twice"));
            }
        }
        let sr = sr
            .filter(|sr| !sr.is_empty())
            .ok_or_else(|| wrong("sr is missing"))?;
        let sig = sig.ok_or_else(|| wrong("sig is missing"))?;
        let se = se.ok_or_else(|| wrong("se is missing"))?;
        let signature = decode(sig)
            .and_then(|sig| STANDARD.decode(sig).ok())
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or_else(|| wrong("sig is not base64 of 32 bytes"))?;
        let digits = !se.is_empty() && se.bytes().all(|byte| byte.is_ascii_digit());
        let expiry = se
            .parse()
            .ok()
            .filter(|_| digits)
            .ok_or_else(|| wrong("se is not a number of seconds"))?;
        let policy = match skn {
            Some(skn) => Some(decode(skn).ok_or_else(|| wrong("skn is not UTF-8"))?),
            None => None,
        };
        Ok(Self {
            resource: decode(sr).ok_or_else(|| wrong("sr is not UTF-8"))?,
            sr: sr.to_owned(),
            signature: Signature(signature),
            se: se.to_owned(),
            expiry,
            policy: policy.filter(|policy| !policy.is_empty()),
        })
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SasToken")
            .field("resource", &self.resource)
            .field("expiry", &self.expiry)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

fn to_sign(sr: &str, se: &str) -> String {
    format!("{sr}\n{se}")
}
