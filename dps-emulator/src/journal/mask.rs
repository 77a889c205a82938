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

/// The names before `=` whose values are secrets, in any case: of connection strings and of signatures.
const SECRET_NAMES: [&str; 2] = ["SharedAccessKey", "sig"];

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

/// The text with the secrets of connection strings and signatures masked. As in their parsers, the case of a name and the space
/// around `=` do not matter.
pub(crate) fn masked_text(text: &str) -> String {
    let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('=') {
        masked.extend([before, "="]);
        rest = after;
        let (name, _) = text.split_at(text.len() - after.len() - 1);
        if is_secret(name) {
            let value = after.trim_start_matches([' ', '\t', '\r', '\n', '\'', '"']);
            let end = value.find(['&', ';', ' ', '\'', '"']);
            masked.push_str(MASK);
            rest = value.split_at(end.unwrap_or(value.len())).1;
        }
    }
    masked + rest
}

/// Whether the text ends with the name of a secret.
fn is_secret(text: &str) -> bool {
    let text = text.trim_end().as_bytes();
    SECRET_NAMES.iter().any(|name| {
        let start = text.len().checked_sub(name.len());
        let end = start.and_then(|start| text.get(start..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(name.as_bytes()))
    })
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

    #[test]
    fn the_case_of_a_name_and_space_do_not_hide_a_secret_from_the_mask() {
        for (text, shown) in [
            (
                "HostName=h;sharedaccesskey=s3cret",
                "HostName=h;sharedaccesskey=****",
            ),
            ("SharedAccessKey = s3cret;x=1", "SharedAccessKey =****;x=1"),
            ("sr=a&SIG=s3cret&se=1", "sr=a&SIG=****&se=1"),
            ("sig=", "sig=****"),
            ("sig= &se=1", "sig=****&se=1"),
            ("SharedAccessKey=sig=s3cret", "SharedAccessKey=****"),
            ("sig=sig =s3cret", "sig=**** =****"),
            ("\u{130}=1;sig=s3cret", "\u{130}=1;sig=****"),
            ("SharedAccessKey='s3cret';x=1", "SharedAccessKey=****';x=1"),
            ("sig=\"s3cret\"&se=1", "sig=****\"&se=1"),
            ("design=a", "design=a"),
        ] {
            assert_eq!(masked_text(text), shown);
            assert_eq!(masked_text(shown), shown);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_masked(before in ".*", key in "[A-Za-z0-9+/=%]{20,40}", after in "([&; ].*)?") {
            for name in ["SharedAccessKey=", "sharedaccesskey=", "sig=", "SIG ="] {
                let text = format!("{before}{name}{key}{after}");
                let secret = format!("{name}{key}");
                prop_assert!(!masked_text(&text).contains(&secret));
            }
        }
    }
}
