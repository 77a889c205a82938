//! SAS tokens that the key of the device signed, with a resource, an expiry or fields that are not those of a registration.

use sha2::{Digest, Sha256, Sha384};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};

use super::{Credentials, TRANSPORTS, is_registered};
use crate::common::{Dps, FOREVER, KEY_1, KEY_2, Sas, key_enrollment, percent, token};

const SR: &str = "0ne00000001%2Fregistrations%2Fdev-1";

/// Resources, as the token has them.
const RESOURCES: [(&str, &str); 28] = [
    (
        "a URL",
        "https%3A%2F%2Flocalhost%2F0ne00000001%2Fregistrations%2Fdev-1",
    ),
    ("a host", "localhost%2F0ne00000001%2Fregistrations%2Fdev-1"),
    ("a slash first", "%2F0ne00000001%2Fregistrations%2Fdev-1"),
    ("two slashes", "0ne00000001%2F%2Fregistrations%2Fdev-1"),
    (
        "a path below",
        "0ne00000001%2Fregistrations%2Fdev-1%2Fregister",
    ),
    (
        "a path up from below",
        "0ne00000001%2Fregistrations%2Fdev-1%2F..",
    ),
    (
        "two dots",
        "0ne00000001%2Fregistrations%2Fdev-2%2F..%2Fdev-1",
    ),
    (
        "dots before the id scope",
        "..%2F0ne00000001%2Fregistrations%2Fdev-1",
    ),
    ("a part of a segment", "0ne00000001%2Fregistration"),
    ("a part of the id scope", "0ne0000000"),
    (
        "the id scope with a digit more",
        "0ne000000010%2Fregistrations%2Fdev-1",
    ),
    (
        "the id scope in full-width digits",
        "0ne0000000%EF%BC%91%2Fregistrations%2Fdev-1",
    ),
    ("the registration id only", "dev-1"),
    ("another collection", "0ne00000001%2Fenrollments%2Fdev-1"),
    ("another collection below", "0ne00000001%2Fdevices%2Fdev-1"),
    (
        "a space at the end",
        "0ne00000001%2Fregistrations%2Fdev-1%20",
    ),
    ("a plus at the end", "0ne00000001%2Fregistrations%2Fdev-1+"),
    (
        "a line feed at the end",
        "0ne00000001%2Fregistrations%2Fdev-1%0A",
    ),
    (
        "a parameter",
        "0ne00000001%2Fregistrations%2Fdev-1%3Fapi-version%3D2021-06-01",
    ),
    ("a fragment", "0ne00000001%2Fregistrations%2Fdev-1%23"),
    ("a semicolon", "0ne00000001%2Fregistrations%2Fdev-1%3Bdev-2"),
    (
        "a full-width slash",
        "0ne00000001%EF%BC%8Fregistrations%EF%BC%8Fdev-1",
    ),
    (
        "an overlong slash",
        "0ne00000001%C0%AFregistrations%C0%AFdev-1",
    ),
    ("a backslash", "0ne00000001%5Cregistrations%5Cdev-1"),
    (
        "bytes that are not UTF-8",
        "0ne00000001%2Fregistrations%2Fdev-1%FF",
    ),
    ("a cut escape", "0ne00000001%2Fregistrations%2Fdev-1%2"),
    (
        "a device of the id scope at a hub",
        "0ne00000001.azure-devices.net%2Fdevices%2Fdev-1",
    ),
    (
        "two resources with a comma",
        "0ne00000001%2Fregistrations%2Fdev-2%2C0ne00000001%2Fregistrations%2Fdev-1",
    ),
];

/// Expiry times, as the token has them.
const EXPIRIES: [(&str, &str); 17] = [
    ("not a number", "NaN"),
    ("infinity", "inf"),
    ("infinity as .NET writes it", "Infinity"),
    ("a negative infinity", "-inf"),
    ("milliseconds", "4102444800000"),
    ("the year 10000", "253402300800"),
    ("a large exponent", "1e300"),
    ("an exponent above the range", "1e999"),
    ("a negative exponent", "4102444800e-9"),
    ("a negative number with a fraction", "-4102444800.5"),
    ("minus zero", "-0"),
    ("a letter after the number", "4102444800s"),
    ("a second number", "4102444800%204102444800"),
    ("a zero byte", "4102444800%00"),
    ("digits with underscores", "4_102_444_800"),
    ("an encoded encoding", "4102444800%2500"),
    ("a sum", "4102444799%2B1"),
];

/// Texts after a token that the key signed.
const ADDITIONS: [(&str, &str); 13] = [
    ("the policy in another case", "&skn=Registration"),
    ("a policy with a space", "&skn=registration%20"),
    ("a policy with a zero byte", "&skn=registration%00"),
    ("a longer policy", "&skn=registrations"),
    ("a policy of the hub", "&skn=iothubowner"),
    ("two policies", "&skn=registration&skn=registration"),
    (
        "two policies in another case",
        "&skn=registration&SKN=registration",
    ),
    (
        "a second resource in another case",
        "&SR=0ne00000001%2Fregistrations%2Fdev-2",
    ),
    ("a second signature in another case", "&Sig=AAAA"),
    ("a second expiry in another case", "&SE=1"),
    ("a field without a value", "&skn"),
    ("a space and a field", " &skn=registration"),
    ("another token", ", SharedAccessSignature sr=a&sig=b&se=1"),
];

fn signature<M: Mac + KeyInit>(text: &str) -> String {
    let key = STANDARD.decode(KEY_1).expect("base64");
    let mut mac = <M as KeyInit>::new_from_slice(&key).expect("any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// A token whose signature is right.
fn signed(sr: &str, se: &str) -> String {
    let signature = signature::<Hmac<Sha256>>(&format!("{sr}\n{se}"));
    format!(
        "SharedAccessSignature sr={sr}&sig={}&se={se}",
        percent(&signature)
    )
}

fn forgeries() -> Vec<(String, String)> {
    let expiry = FOREVER.to_string();
    let text = format!("{SR}\n{expiry}");
    let with_signature = |sig: &str| {
        format!(
            "SharedAccessSignature sr={SR}&sig={}&se={expiry}",
            percent(sig)
        )
    };
    let genuine = signed(SR, &expiry);
    let right = signature::<Hmac<Sha256>>(&text);
    let raw = STANDARD.decode(&right).expect("base64");
    let key = STANDARD.decode(KEY_1).expect("base64");
    let prefixed = [&key[..], text.as_bytes()].concat();
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| rows.push((name.to_owned(), token));
    for (name, sr) in RESOURCES {
        add(name, signed(sr, &expiry));
    }
    for (name, se) in EXPIRIES {
        add(name, signed(SR, se));
    }
    for (name, text) in ADDITIONS {
        add(name, format!("{genuine}{text}"));
    }
    add(
        "HMAC-SHA384",
        with_signature(&signature::<Hmac<Sha384>>(&text)),
    );
    add("HMAC-SHA384, cut", {
        let long = STANDARD.decode(signature::<Hmac<Sha384>>(&text));
        with_signature(&STANDARD.encode(&long.expect("base64")[..32]))
    });
    add(
        "the key before the text, hashed",
        with_signature(&STANDARD.encode(Sha256::digest(&prefixed))),
    );
    add("the signature in reverse", {
        let reversed: Vec<u8> = raw.iter().rev().copied().collect();
        with_signature(&STANDARD.encode(reversed))
    });
    add(
        "the signature twice",
        with_signature(&STANDARD.encode([&raw[..], &raw].concat())),
    );
    add(
        "base64 of the base64",
        with_signature(&STANDARD.encode(&right)),
    );
    add("a signature of the resource in its decoded form", {
        with_signature(&signature::<Hmac<Sha256>>(&format!(
            "0ne00000001/registrations/dev-1\n{expiry}"
        )))
    });
    add("a signature of the text without a line feed", {
        with_signature(&signature::<Hmac<Sha256>>(&format!("{SR}{expiry}")))
    });
    add("semicolons between the fields", genuine.replace('&', ";"));
    add("colons in the fields", genuine.replace('=', ":"));
    add("spaces between the fields", genuine.replace('&', "& "));
    add(
        "the scheme with a colon",
        genuine.replace("Signature ", "Signature: "),
    );
    add(
        "the scheme twice",
        format!("SharedAccessSignature {genuine}"),
    );
    add(
        "a scheme that only begins so",
        genuine.replace("Signature ", "Signatures "),
    );
    add("the token as a bearer token", format!("Bearer {genuine}"));
    add("the token in quotes", format!("\"{genuine}\""));
    add("the token in percent-encoding", percent(&genuine));
    add("the token in base64", STANDARD.encode(&genuine));
    rows
}

#[tokio::test]
async fn no_token_with_other_fields_registers_a_device() {
    let dps = Dps::start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    for (name, token) in forgeries() {
        for transport in TRANSPORTS {
            let accepted = Credentials::Token(&token).register(&dps, transport).await;
            assert!(!accepted, "{name} over {transport}: {token}");
        }
    }
    assert!(!is_registered(&dps).await);
    let sas = Sas::device("0ne00000001", "dev-1");
    for genuine in [
        token("dev-1", KEY_1),
        signed(SR, &FOREVER.to_string()),
        // As the Java SDK writes a token.
        format!("{}&skn=", signed(SR, &FOREVER.to_string())),
        sas.sign_in_order(KEY_1, &["skn", "se", "sig", "sr"]),
    ] {
        for transport in TRANSPORTS {
            let accepted = Credentials::Token(&genuine).register(&dps, transport).await;
            assert!(accepted, "{transport}: {genuine}");
        }
    }
}
