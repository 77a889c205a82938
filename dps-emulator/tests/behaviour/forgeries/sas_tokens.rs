//! SAS tokens that the key of the device did not sign for this device, or that are not valid now.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};

use super::{Credentials, TRANSPORTS, is_registered};
use crate::common::{
    Dps, FOREVER, KEY_1, KEY_2, KEY_3, Sas, derive, key_enrollment, key_group, percent, token,
    unix_now,
};

const SR: &str = "0ne00000001%2Fregistrations%2Fdev-1";

/// The name of each forgery, and the token.
fn forgeries(dps: &Dps) -> Vec<(&'static str, String)> {
    let sas = Sas::device("0ne00000001", "dev-1");
    let genuine = sas.sign(KEY_1);
    let signature = hmac(KEY_1, &format!("{SR}\n{FOREVER}"));
    let raw = STANDARD.decode(&signature).expect("base64");
    let resource = |sr: &str| sas.clone().sr(sr).sign(KEY_1);
    let with_signature = |signature: &str| fields(SR, &percent(signature), &FOREVER.to_string());
    let with_expiry = |se: &str| fields(SR, &percent(&hmac(KEY_1, &format!("{SR}\n{se}"))), se);
    let signed_text = |text: &str| with_signature(&hmac(KEY_1, text));
    vec![
        // Keys
        ("the key of another device", sas.sign(KEY_3)),
        (
            "a key derived from the device's key",
            sas.sign(&derive(KEY_1, "dev-1")),
        ),
        ("the key of a group, not derived", sas.sign(GROUP_KEY)),
        (
            "a token of another device",
            Sas::device("0ne00000001", "dev-2").sign(KEY_3),
        ),
        (
            "the key of another device in the group",
            sas.sign(&derive(GROUP_KEY, "dev-2")),
        ),
        (
            "a key derived from the id in another case",
            sas.sign(&derive(GROUP_KEY, "DEV-1")),
        ),
        ("the key of the service", sas.sign(&dps.service_key)),
        (
            "an operator's token",
            dps.service_sas().sign(&dps.service_key),
        ),
        (
            "half of the key",
            sas.sign(&STANDARD.encode(&STANDARD.decode(KEY_1).expect("base64")[..16])),
        ),
        (
            "the text of the key as bytes",
            sas.sign(&STANDARD.encode(KEY_1)),
        ),
        ("a key of zeros", sas.sign(&STANDARD.encode([0; 32]))),
        ("an empty key", sas.sign("")),
        // Resources
        (
            "the resource of another device",
            resource("0ne00000001%2Fregistrations%2Fdev-2"),
        ),
        (
            "a longer registration id",
            resource("0ne00000001%2Fregistrations%2Fdev-10"),
        ),
        (
            "a shorter registration id",
            resource("0ne00000001%2Fregistrations%2Fdev-"),
        ),
        (
            "another id scope",
            resource("0ne00000002%2Fregistrations%2Fdev-1"),
        ),
        (
            "a path with another device first",
            resource("0ne00000001%2Fregistrations%2Fdev-2%2F..%2Fdev-1"),
        ),
        (
            "a path with a dot",
            resource("0ne00000001%2F.%2Fregistrations%2Fdev-1"),
        ),
        (
            "the device at a hub",
            resource("127.0.0.1%2Fdevices%2Fdev-1"),
        ),
        (
            "an encoding of the encoding",
            resource("0ne00000001%252Fregistrations%252Fdev-1"),
        ),
        (
            "a query in the resource",
            resource("0ne00000001%2Fregistrations%2Fdev-2%3Fdev-1"),
        ),
        (
            "a zero byte at the end",
            resource("0ne00000001%2Fregistrations%2Fdev-1%00"),
        ),
        (
            "a letter that only looks the same",
            resource("0ne00000001%2Fregistrations%2Fd%D0%B5v-1"),
        ),
        ("an empty resource", resource("")),
        ("a slash", resource("%2F")),
        ("an asterisk", resource("*")),
        // Expiry. A number of seconds may have a fraction, as in the tokens of some SDKs.
        (
            "expired for ten minutes",
            sas.clone().se(unix_now() - 600).sign(KEY_1),
        ),
        ("expired in 1970", sas.clone().se(0).sign(KEY_1)),
        ("a negative expiry", with_expiry("-1")),
        ("an expiry in hexadecimal", with_expiry("0xF4865700")),
        (
            "an expiry above 64 bits",
            with_expiry("99999999999999999999"),
        ),
        ("an expiry as a date", with_expiry("2100-01-01")),
        (
            "an expiry of Arabic digits",
            with_expiry("%D9%A4%D9%A1%D9%A0%D9%A2%D9%A4%D9%A4%D9%A4%D9%A8%D9%A0%D9%A0"),
        ),
        ("an empty expiry", with_expiry("")),
        (
            "an expiry that was changed",
            genuine.replace("se=4102444800", "se=4102444801"),
        ),
        // Signatures
        ("an empty signature", with_signature("")),
        (
            "a signature that is cut",
            with_signature(&STANDARD.encode(&raw[..31])),
        ),
        (
            "a signature with another byte",
            with_signature(&STANDARD.encode([&raw[..], &[0]].concat())),
        ),
        (
            "a signature of zeros",
            with_signature(&STANDARD.encode([0; 32])),
        ),
        ("a signature in hexadecimal", with_signature(&hex(&raw))),
        (
            "a signature of the decoded resource",
            signed_text(&format!("0ne00000001/registrations/dev-1\n{FOREVER}")),
        ),
        ("a signature without the expiry", signed_text(SR)),
        (
            "a signature with a carriage return",
            signed_text(&format!("{SR}\r\n{FOREVER}")),
        ),
        (
            "a signature with a line feed at the end",
            signed_text(&format!("{SR}\n{FOREVER}\n")),
        ),
        (
            "a signature of the fields in reverse",
            signed_text(&format!("{FOREVER}\n{SR}")),
        ),
        (
            "a signature of the lower-case resource",
            signed_text(&format!("{}\n{FOREVER}", SR.to_lowercase())),
        ),
        (
            "HMAC-SHA512",
            with_signature(&hmac_sha512(KEY_1, &format!("{SR}\n{FOREVER}"))),
        ),
        (
            "SHA-256 without a key",
            with_signature(&sha256(&format!("{SR}\n{FOREVER}"))),
        ),
        // Fields
        (
            "two resources, the device's last",
            format!(
                "{}&sr={SR}",
                resource("0ne00000001%2Fregistrations%2Fdev-2")
            ),
        ),
        (
            "two resources, the device's first",
            format!("{genuine}&sr=0ne00000001%2Fregistrations%2Fdev-2"),
        ),
        ("two signatures", format!("{genuine}&sig=AAAA")),
        ("two expiries", format!("{genuine}&se=1")),
        ("no resource", genuine.replace("sr=", "rs=")),
        ("no signature", genuine.replace("&sig=", "&gis=")),
        ("no expiry", genuine.replace("&se=", "&es=")),
        (
            "the policy of an operator",
            sas.clone()
                .skn(Some("provisioningserviceowner"))
                .sign(KEY_1),
        ),
        (
            "another scheme",
            genuine.replace("SharedAccessSignature", "Bearer"),
        ),
        ("no scheme", genuine.replace("SharedAccessSignature ", "")),
        ("the key in place of a token", KEY_1.to_owned()),
        (
            "the key as a password",
            format!("Basic {}", STANDARD.encode(format!("dev-1:{KEY_1}"))),
        ),
        ("nothing", String::new()),
        (
            "a signature in URL-safe base64",
            with_signature(&url_safe_with_other_bytes(&raw)),
        ),
    ]
}

const GROUP_KEY: &str = "Z3JvdXAta2V5LWdyb3VwLWtleS1ncm91cC1rZXktMzI=";

/// A token for `dev-1` whose fields are written here.
fn fields(sr: &str, signature: &str, se: &str) -> String {
    format!("SharedAccessSignature sr={sr}&sig={signature}&se={se}&skn=registration")
}

/// URL-safe base64 of a changed signature: it is refused for the bytes, in any alphabet.
fn url_safe_with_other_bytes(signature: &[u8]) -> String {
    let mut changed = signature.to_vec();
    changed[0] ^= 1;
    URL_SAFE.encode(changed)
}

fn hmac(key: &str, text: &str) -> String {
    let key = STANDARD.decode(key).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn hmac_sha512(key: &str, text: &str) -> String {
    let key = STANDARD.decode(key).expect("base64");
    let mut mac = Hmac::<Sha512>::new_from_slice(&key).expect("any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    STANDARD.encode(Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn no_forged_token_registers_a_device() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps.create("/enrollments/dev-2", &key_enrollment("dev-2", KEY_3, KEY_2))
        .await;
    dps.create("/enrollmentGroups/g", &key_group("g", GROUP_KEY, GROUP_KEY))
        .await;
    for (name, token) in forgeries(&dps) {
        for transport in TRANSPORTS {
            let accepted = Credentials::Token(&token).register(&dps, transport).await;
            assert!(!accepted, "{name} over {transport}: {token}");
        }
        assert!(!is_registered(&dps).await, "{name}: {token}");
    }
    for transport in TRANSPORTS {
        let genuine = token("dev-1", KEY_1);
        let accepted = Credentials::Token(&genuine).register(&dps, transport).await;
        assert!(accepted, "{transport}");
    }
    assert!(is_registered(&dps).await);
}
