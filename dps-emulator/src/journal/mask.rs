//! Masks the secrets in a document and in a text.

use dps_types::mask_url;
use serde_json::Value;

/// The text that replaces a secret.
pub(crate) const MASK: &str = "****";

/// The fields of documents that hold secrets, in lower case.
const SECRETS: [&str; 10] = [
    "primarykey",
    "secondarykey",
    "authenticationkey",
    "sharedaccesskey",
    "symmetrickey",
    "password",
    "privatekey",
    "secret",
    "token",
    "key",
];

/// The document with its secrets masked, at any depth.
pub(crate) fn masked(document: Value) -> Value {
    match document {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let lower = name.to_ascii_lowercase();
                let value = match value {
                    Value::String(text)
                        if !text.is_empty() && SECRETS.contains(&lower.as_str()) =>
                    {
                        MASK.into()
                    }
                    Value::String(url) if lower == "webhookurl" => mask_url(&url).into(),
                    value => masked(value),
                };
                (name, value)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::String(text) => masked_text(&text).into(),
        other => other,
    }
}

/// The text with the secrets of connection strings and signatures masked.
pub(crate) fn masked_text(text: &str) -> String {
    let mut masked = text.to_owned();
    for name in ["SharedAccessKey=", "sig="] {
        let mut from = 0;
        while let Some(at) = masked[from..].find(name) {
            let start = from + at + name.len();
            let rest = &masked[start..];
            let length = rest.find(['&', ';', ' ', '\'', '"']).unwrap_or(rest.len());
            masked.replace_range(start..start + length, MASK);
            from = start + MASK.len();
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_and_signatures_are_masked_at_any_depth() {
        let document = json!({
            "attestation": { "symmetricKey": { "primaryKey": "s3cret", "secondaryKey": "s3cret" } },
            "list": [{ "AuthenticationKey": "s3cret" }],
            "text": "HostName=h;SharedAccessKey=s3cret;x=1",
            "sas": "SharedAccessSignature sr=a&sig=s3cret%3D&se=1",
            "webhookUrl": "https://example.com/api?code=s3cret",
            "registrationId": "dev-1",
            "primaryKey": null,
        });
        let shown = masked(document);
        let text = shown.to_string();
        assert!(!text.contains("s3cret"), "{text}");
        assert_eq!(shown["registrationId"], "dev-1");
        assert_eq!(shown["text"], "HostName=h;SharedAccessKey=****;x=1");
        assert_eq!(shown["sas"], "SharedAccessSignature sr=a&sig=****&se=1");
        assert_eq!(shown["primaryKey"], json!(null));
    }

    proptest! {
        #[test]
        fn any_text_is_masked(before in ".*", key in "[A-Za-z0-9+/=%]{20,40}", after in "([&; ].*)?") {
            for name in ["SharedAccessKey=", "sig="] {
                let text = format!("{before}{name}{key}{after}");
                let secret = format!("{name}{key}");
                prop_assert!(!masked_text(&text).contains(&secret));
            }
        }
    }
}
