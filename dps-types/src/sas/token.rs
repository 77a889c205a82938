//! A signed SAS token: parse, verify, write.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::fields::{self, Fields, invalid};
use super::{Signature, string_to_sign};
use crate::protocol::{decode, encode};
use crate::{ParseError, SymmetricKey, Timestamp};

/// A shared access signature. Debug shows no signature.
///
/// ```
/// use dps_types::sas::SasToken;
///
/// let text = "SharedAccessSignature sr=0ne00123ABC%2Fregistrations%2Ftoaster-1\
///     &sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D&se=1800000000&skn=registration";
/// let token: SasToken = text.parse()?;
/// assert_eq!(token.resource(), "0ne00123ABC/registrations/toaster-1");
/// # Ok::<_, dps_types::ParseError>(())
/// ```
#[derive(Clone)]
pub struct SasToken {
    /// The text in the token, still encoded: the signature covers it as it is.
    pub(super) sr: String,
    pub(super) resource: String,
    pub(super) signature: Signature,
    /// The text in the token, for the same reason.
    pub(super) se: String,
    pub(super) expires_at: SystemTime,
    pub(super) policy: Option<String>,
}

impl SasToken {
    /// The time at which the token expires.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Returns true if a token that was created with `lifetime` can still be used at `now`, with `reserve` left.
    ///
    /// A token that expires later than `now + lifetime` was created before the clock was set back. The service would accept
    /// it for too long, so it is not fresh.
    pub fn is_fresh(&self, now: SystemTime, lifetime: Duration, reserve: Duration) -> bool {
        let latest = now.checked_add(lifetime);
        now.checked_add(reserve)
            .is_some_and(|earliest| self.expires_at >= earliest)
            && latest.is_none_or(|latest| self.expires_at <= latest)
    }

    /// The policy that the token names (`skn`).
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// The resource, decoded.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Returns true if the token is for `resource` or for a path above it, without regard to case.
    pub fn covers(&self, resource: &str) -> bool {
        let claimed = self.resource.trim_end_matches('/');
        match resource.get(..claimed.len()) {
            Some(head) if !claimed.is_empty() && head.eq_ignore_ascii_case(claimed) => {
                matches!(resource.as_bytes().get(claimed.len()), None | Some(b'/'))
            }
            _ => false,
        }
    }

    /// Returns true if the key made the signature. Uses the text of `sr` as it was sent, since clients encode differently, and
    /// compares in constant time.
    pub fn verify(&self, key: &SymmetricKey) -> bool {
        let made = key.hmac_sha256(string_to_sign(&self.sr, &self.se).as_bytes());
        made.ct_eq(&self.signature.0).into()
    }

    /// Returns the token for an `Authorization` header or an MQTT password. It is a secret until it expires.
    pub fn reveal(&self) -> Zeroizing<String> {
        let sig = Zeroizing::new(STANDARD.encode(self.signature.0));
        let mut text = format!(
            "SharedAccessSignature sr={}&sig={}&se={}",
            self.sr,
            encode(&sig),
            encode(&self.se)
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

    /// Parses the token as Microsoft's published parser does: fields in any order and case, each at most once;
    /// unknown fields are ignored. The error does not repeat the text.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let Fields { sr, sig, se, skn } = Fields::parse(text)?;
        let sr = sr
            .filter(|sr| !sr.is_empty())
            .ok_or_else(|| invalid("sr is missing"))?;
        let sig = Zeroizing::new(sig.ok_or_else(|| invalid("sig is missing"))?);
        let se = se.ok_or_else(|| invalid("se is missing"))?;
        let signature = STANDARD
            .decode(sig.as_bytes())
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .ok_or_else(|| match sig.contains(' ') {
                true => invalid("sig contains a '+' that is not encoded as %2B"),
                false => invalid("sig is not base64 of 32 bytes"),
            })?;
        Ok(Self {
            resource: decode(&sr).ok_or_else(|| invalid("sr is not UTF-8"))?,
            sr,
            signature: Signature(signature),
            expires_at: fields::expiry(&se)?,
            se,
            policy: skn.filter(|policy| !policy.is_empty()),
        })
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SasToken")
            .field("resource", &self.resource)
            .field("expires_at", &Timestamp::from(self.expires_at))
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
