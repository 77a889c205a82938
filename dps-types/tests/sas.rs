//! Tokens as the official clients write them, with signatures that another implementation computed.

use std::time::{Duration, SystemTime};

use dps_types::protocol::device;
use dps_types::sas::{SasToken, SasTokenBuilder, Sign, SignError, Signature};
use dps_types::{IdScope, ParseError, RegistrationId, SymmetricKey};

const KEY: &str =
    "18RQk/hOPJR9EbsJlk2j8WA6vWaj/yi+oaYg7zmxfQNdOyMSu+SJ8O7TSlZhDJCYmn4rzEiVKIzNiVAWjLxrGA==";

fn key() -> SymmetricKey {
    SymmetricKey::from_base64(KEY).expect("valid")
}

fn seconds(since_1970: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(since_1970)
}

fn token(text: &str) -> SasToken {
    text.parse().expect(text)
}

#[test]
fn a_device_token_is_written_as_documented() {
    let scope: IdScope = "0ne00111111".parse().unwrap();
    let id: RegistrationId = "my-symkey-device".parse().unwrap();
    let resource = device::resource(&scope, &id);
    assert_eq!(resource, "0ne00111111/registrations/my-symkey-device");
    let token = SasTokenBuilder::new(&resource, 1_663_952_627)
        .policy(device::SAS_POLICY)
        .sign_with(&key());
    assert_eq!(
        *token.reveal(),
        "SharedAccessSignature sr=0ne00111111%2Fregistrations%2Fmy-symkey-device\
         &sig=8VPprb8BiTkuVE0hBqHm%2FSVrzVpdD8VZcXugntdbhuU%3D&se=1663952627&skn=registration"
    );
}

#[test]
fn without_a_policy_there_is_no_skn() {
    let token = SasTokenBuilder::new("0ne00111111/registrations/my-symkey-device", 1_663_952_627);
    assert_eq!(
        *token.sign_with(&key()).reveal(),
        "SharedAccessSignature sr=0ne00111111%2Fregistrations%2Fmy-symkey-device\
         &sig=8VPprb8BiTkuVE0hBqHm%2FSVrzVpdD8VZcXugntdbhuU%3D&se=1663952627"
    );
}

/// The id looks the same in the path and in the signature (csharp#3061).
#[test]
fn a_colon_in_an_id_is_encoded_in_the_signed_text() {
    let token =
        SasTokenBuilder::new("0ne00111111/registrations/dev:1", 1_700_000_001).sign_with(&key());
    assert_eq!(
        *token.reveal(),
        "SharedAccessSignature sr=0ne00111111%2Fregistrations%2Fdev%3A1\
         &sig=gHqWufofDa5RWkq461%2Bz46CbU13sII6M6uybM4%2B27%2FA%3D&se=1700000001"
    );
}

#[test]
fn a_service_token_claims_the_host() {
    let token = SasTokenBuilder::new("contoso.azure-devices-provisioning.net", 1_700_000_005)
        .policy("provisioningserviceowner")
        .sign_with(&key());
    assert_eq!(
        *token.reveal(),
        "SharedAccessSignature sr=contoso.azure-devices-provisioning.net\
         &sig=qA8OcATGQPvbKSMCGOJPHEtgpd6hIyI%2Bf%2F5awRBaQ54%3D&se=1700000005&skn=provisioningserviceowner"
    );
}

/// Clients and their tokens. The order of fields, the encoding and the case of `sr` differ.
const CLIENTS: [(&str, &str); 7] = [
    (
        "Node: slash raw, skn before se",
        "SharedAccessSignature sr=0ne00111111/registrations/my-symkey-device\
         &sig=%2BIlpPze5sSQrDX5Fw98obwTbXBizzH2pq%2F3Xt0Cj8Jo%3D&skn=registration&se=1700000002",
    ),
    (
        "C: lower-case hex, in sig too",
        "SharedAccessSignature sr=0ne00111111%2fregistrations%2fmy-symkey-device\
         &sig=wBLobwtHTB66d5JIWA%2f%2b6k8v3vqXMFuVLNhMVTKMAb8%3d&se=1700000002&skn=registration",
    ),
    (
        "Python: upper-case hex, no skn",
        "SharedAccessSignature sr=0ne00111111%2Fregistrations%2Fmy-symkey-device\
         &sig=%2B%2FgPJN5T6b8hv0w0yFz7sFgB9sOY5DVjwRVfpik0fEw%3D&se=1700000001",
    ),
    (
        "azure-iot-hub for Python: sig not encoded",
        "SharedAccessSignature sr=0ne00111111%2Fregistrations%2Fmy-symkey-device\
         &sig=BMPQMt78V585M6mphIFnOwUpO34b/h2Tc9324IcPx78=&se=1700000002&skn=registration",
    ),
    (
        "iot-identity-service: sr lower-cased, slash raw",
        "SharedAccessSignature sr=0ne00111111/registrations/my-device.a\
         &sig=%2Bg0Ep4Ve2Y5ezTZ83l4hG9hqkhEwK5Mj0sQKQ%2FqY4%2F8%3D&se=1700000005&skn=registration",
    ),
    (
        "the documentation's own advice: lower-case encoding of the lower-case resource",
        "SharedAccessSignature sr=0ne00111111%2fregistrations%2fmy-device.a\
         &sig=ZmBIursjWb5%2f6RwC%2bfW%2bnhqrFewQmwTYwpCmDgKQ9ig%3d&skn=registration&se=1700000004",
    ),
    (
        "fields in another order, scheme in another case",
        "sharedaccesssignature se=1700000002&skn=registration&sig=wBLobwtHTB66d5JIWA%2f%2b6k8v3vqXMFuVLNhMVTKMAb8%3d\
         &sr=0ne00111111%2fregistrations%2fmy-symkey-device",
    ),
];

#[test]
fn the_tokens_of_every_client_are_verified() {
    for (who, text) in CLIENTS {
        let token = token(text);
        assert!(token.verify(&key()), "{who}");
        assert!(!token.verify(&SymmetricKey::generate()), "{who}");
        let device = match text.contains("device.a") {
            true => "0NE00111111/registrations/My-Device.A",
            false => "0NE00111111/registrations/My-SymKey-Device",
        };
        assert!(token.covers(device), "{who}");
        assert!(!token.covers("0ne00111111/registrations/other"), "{who}");
    }
}

#[test]
fn a_token_is_written_with_the_sr_that_was_read_and_still_verifies() {
    for (who, text) in CLIENTS {
        let again = token(&token(text).reveal());
        assert!(again.verify(&key()), "{who}");
    }
    let c = token(CLIENTS[1].1).reveal();
    assert!(
        c.contains("sr=0ne00111111%2fregistrations%2fmy-symkey-device"),
        "{}",
        *c
    );
}

/// The TPM vector: key 00 01 .. 1f, string to sign `0ne00000001%2fregistrations%2fdev1\n1700000000`.
#[test]
fn the_token_that_a_tpm_signed_is_verified() {
    let key = SymmetricKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let token = token(
        "SharedAccessSignature sr=0ne00000001%2fregistrations%2fdev1\
         &sig=pAiBfh1h8IdI6DHDPaJCOlRPIJJKUJXSQxdrqyqNNEY%3D&se=1700000000&skn=registration",
    );
    assert!(token.verify(&key));
    assert_eq!(token.resource(), "0ne00000001/registrations/dev1");
    assert_eq!(token.expires_at(), seconds(1_700_000_000.0));
    assert_eq!(token.policy(), Some("registration"));
}

#[test]
fn a_change_of_any_signed_part_is_detected() {
    let text = CLIENTS[1].1;
    for (from, to) in [
        ("my-symkey-device", "my-symkey-devicf"),
        ("%2fmy", "%2Fmy"),
        ("%2fmy", "/my"),
        ("0ne00111111", "0NE00111111"),
        ("se=1700000002", "se=9999999999"),
        ("se=1700000002", "se=01700000002"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        assert!(!token(&changed).verify(&key()), "{from} -> {to}");
    }
}

#[test]
fn a_token_covers_its_resource_and_the_paths_below() {
    let claim = |sr: &str| {
        token(&format!(
            "SharedAccessSignature sr={sr}&sig=8VPprb8BiTkuVE0hBqHm%2FSVrzVpdD8VZcXugntdbhuU%3D&se=1"
        ))
    };
    let device = "0ne00111111/registrations/dev-1";
    for sr in [
        "0ne00111111/registrations/dev-1",
        "0NE00111111%2FRegistrations%2FDEV-1",
        "0ne00111111%2fregistrations%2fdev-1%2f",
        "0ne00111111/registrations",
        "0ne00111111",
    ] {
        assert!(claim(sr).covers(device), "{sr}");
    }
    for sr in [
        "0ne00111111/registrations/dev-12",
        "0ne00111111/registrations/dev",
        "0ne00111111/registrations/dev-1/operations",
        "0ne0011111",
        "0ne00111112/registrations/dev-1",
        "%2F0ne00111111/registrations/dev-1",
        "/",
        "%2F%2F",
        "%C3%A4",
    ] {
        assert!(!claim(sr).covers(device), "{sr}");
    }
    assert!(!claim("0ne%C3%A4").covers("0neä-and-more"));
    assert!(!claim("aaa").covers("aä"));
    assert!(!claim("a").covers(""));
    assert!(!claim("/").covers("") && !claim("/").covers("/0ne00111111"));
}

#[test]
fn each_mistake_has_its_own_message() {
    const SIG: &str = "8VPprb8BiTkuVE0hBqHm%2FSVrzVpdD8VZcXugntdbhuU%3D";
    for (text, reason) in [
        ("", "it does not begin with SharedAccessSignature"),
        (
            "SharedAccessSignature",
            "it does not begin with SharedAccessSignature",
        ),
        (
            "Bearer sr=a&sig=@&se=1",
            "it does not begin with SharedAccessSignature",
        ),
        (
            "sr=a&sig=@&se=1",
            "it does not begin with SharedAccessSignature",
        ),
        ("SharedAccessSignature sr", "a field has no '='"),
        (
            "SharedAccessSignature sr=a&sr=b&sig=@&se=1",
            "a field appears twice",
        ),
        (
            "SharedAccessSignature sr=a&sig=@&se=1&se=2",
            "a field appears twice",
        ),
        ("SharedAccessSignature sig=@&se=1", "sr is missing"),
        ("SharedAccessSignature sr=&sig=@&se=1", "sr is missing"),
        ("SharedAccessSignature sr=a&se=1", "sig is missing"),
        ("SharedAccessSignature sr=a&sig=@", "se is missing"),
        (
            "SharedAccessSignature sr=a&sig=&se=1",
            "sig is not base64 of 32 bytes",
        ),
        (
            "SharedAccessSignature sr=a&sig=c2VjcmV0&se=1",
            "sig is not base64 of 32 bytes",
        ),
        (
            "SharedAccessSignature sr=a&sig=*&se=1",
            "sig is not base64 of 32 bytes",
        ),
        (
            "SharedAccessSignature sr=a&sig=%FF&se=1",
            "sig is not base64 of 32 bytes",
        ),
        ("SharedAccessSignature sr=%FF&sig=@&se=1", "sr is not UTF-8"),
        (
            "SharedAccessSignature sr=a&sig=@&se=1&st=0&ST=0",
            "a field appears twice",
        ),
        (
            "SharedAccessSignature sr=a&sig=@&SE=1&se=2",
            "a field appears twice",
        ),
        (
            "SharedAccessSignature sr=a& sig=@&se=1",
            "there is white space in or between the fields",
        ),
        (
            "SharedAccessSignature  sr=a&sig=@&se=1",
            "there is white space in or between the fields",
        ),
        (
            "SharedAccessSignature sr=a&sig=+/gPJN5T6b8hv0w0yFz7sFgB9sOY5DVjwRVfpik0fEw=&se=1",
            "sig contains a '+' that is not encoded as %2B",
        ),
        (
            "SharedAccessSignature sr=a&sig=@&se=",
            "se is not a number of seconds",
        ),
        (
            "SharedAccessSignature sr=a&sig=@&se=tomorrow",
            "se is not a number of seconds",
        ),
        (
            "SharedAccessSignature sr=a&sig=@&se=NaN",
            "se is not a number of seconds",
        ),
        (
            "SharedAccessSignature sr=a&sig=@&se=-Infinity",
            "se is not a number of seconds",
        ),
        (
            "SharedAccessSignature sr=a&sig=@&se=1700000000000",
            "se is after the year 9999: it is a number of seconds since 1970, not of milliseconds",
        ),
    ] {
        let text = text.replace('@', SIG);
        let error: ParseError = text.parse::<SasToken>().expect_err(&text);
        assert_eq!(error.reason(), reason, "{text}");
        assert_eq!(error.expected(), "SAS token");
        assert!(!error.to_string().contains("8VPprb8"), "{error}");
    }
}

/// The rules of the parser that Microsoft publishes: azure-iot-sdk-csharp, provisioning service client,
/// `SharedAccessSignature`.
#[test]
fn fields_are_read_as_the_published_parser_reads_them() {
    const DEVICE: &str = "sr=0ne00111111%2Fregistrations%2Fmy-symkey-device";
    const SIG: &str = "sig=BMPQMt78V585M6mphIFnOwUpO34b%2Fh2Tc9324IcPx78%3D";
    for (what, fields, expires_at) in [
        (
            "a fraction of a second",
            format!("{DEVICE}&sig=Asra5zK7G3aJ3mhTKnIpz8S4hjjCZnpJ8L5NqOjri80%3D&se=1700000001.5"),
            1_700_000_001.5,
        ),
        (
            "an exponent",
            format!("{DEVICE}&sig=BA1ImPhSf9Zn0j2IpM6Bz5dqgbfkKWJdBYnqeBH8EEs%3D&se=1.7e9"),
            1_700_000_000.0,
        ),
        (
            "empty fields",
            format!("&{DEVICE}&&{SIG}&se=1700000002&"),
            1_700_000_002.0,
        ),
        (
            "an unknown field",
            format!("{DEVICE}&{SIG}&st=0&se=1700000002"),
            1_700_000_002.0,
        ),
        (
            "names in upper case",
            format!("{DEVICE}&{SIG}&se=1700000002").replace("sr=", "SR="),
            1_700_000_002.0,
        ),
        (
            "an encoded se",
            format!("{DEVICE}&{SIG}&se=170000000%32"),
            1_700_000_002.0,
        ),
    ] {
        let token = token(&format!("SharedAccessSignature {fields}"));
        assert!(token.verify(&key()), "{what}");
        assert_eq!(token.expires_at(), seconds(expires_at), "{what}");
        let again = self::token(&token.reveal());
        assert!(again.verify(&key()), "{what}");
        assert_eq!(again.expires_at(), token.expires_at(), "{what}");
    }
    for (se, expires_at) in [
        ("-1", 0.0),
        ("+1", 1.0), // A space and a number.
        ("%2B1", 1.0),
        ("1,000", 1_000.0),
        ("253402300799", 253_402_300_799.0),
    ] {
        let token = token(&format!("SharedAccessSignature {DEVICE}&{SIG}&se={se}"));
        assert_eq!(token.expires_at(), seconds(expires_at), "{se}");
    }
}

#[test]
fn a_token_is_fresh_while_the_reserve_is_left_and_the_clock_was_not_set_back() {
    let token = SasTokenBuilder::new("a", 10_000).sign_with(&key());
    let (lifetime, reserve) = (Duration::from_secs(3600), Duration::from_secs(60));
    for (now, is_fresh) in [
        (6_399.0, false),
        (6_400.0, true),
        (9_940.0, true),
        (9_941.0, false),
        (20_000.0, false),
    ] {
        assert_eq!(
            token.is_fresh(seconds(now), lifetime, reserve),
            is_fresh,
            "{now}"
        );
    }
    assert!(token.is_fresh(seconds(9_000.0), Duration::MAX, reserve));
    assert!(!token.is_fresh(seconds(9_000.0), lifetime, Duration::MAX));
}

#[test]
fn an_empty_skn_is_absent() {
    let text = CLIENTS[2].1.to_owned() + "&skn=";
    assert_eq!(token(&text).policy(), None);
}

#[test]
fn debug_shows_the_resource_and_not_the_signature() {
    for (_, text) in CLIENTS {
        let token = token(text);
        let shown = format!("{token:?}");
        assert!(shown.contains("0ne00111111/registrations/my-"), "{shown}");
        let sig = text
            .split(['&', ' '])
            .find_map(|field| field.strip_prefix("sig="));
        assert!(!shown.contains(&sig.expect("a signature")[..8]), "{shown}");
    }
    assert_eq!(format!("{:?}", Signature([65; 32])), "Signature(..)");
}

/// A key in an HSM.
struct Hsm(Option<SymmetricKey>);

#[async_trait::async_trait]
impl Sign for Hsm {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        match &self.0 {
            Some(key) => Ok(Signature(key.hmac_sha256(data))),
            None => Err(SignError::new("the token is not in its slot").with_source("no such slot")),
        }
    }
}

#[tokio::test]
async fn a_key_in_an_hsm_signs_the_same() {
    let claim = SasTokenBuilder::new("0ne00111111/registrations/my-symkey-device", 1_663_952_627)
        .policy("registration");
    let here = claim.clone().sign_with(&key()).reveal();
    let in_memory = claim.clone().sign(&key()).await.unwrap().reveal();
    let elsewhere = claim.sign(&Hsm(Some(key()))).await.unwrap().reveal();
    assert_eq!(*here, *in_memory);
    assert_eq!(*here, *elsewhere);
}

#[tokio::test]
async fn the_error_of_a_key_that_cannot_sign_has_a_source() {
    let error = SasTokenBuilder::new("a", 1)
        .sign(&Hsm(None))
        .await
        .expect_err("no key");
    assert_eq!(error.to_string(), "the token is not in its slot");
    let source = std::error::Error::source(&error).expect("a source");
    assert_eq!(source.to_string(), "no such slot");
}

/// azure-docs `iot-dps/concepts-symmetric-key-attestation.md`. The id is not converted to lower case (python#355).
#[test]
fn a_device_key_derives_from_the_group_key() {
    let group =
        "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
    let group = SymmetricKey::from_base64(group).unwrap();
    for (id, derived) in [
        (
            "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6",
            "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=",
        ),
        (
            "SN-007-888-ABC-MAC-A1-B2-C3-D4-E5-F6",
            "9GWVnYuoOLXlHc346XjhLRb9pKgIOrKSwxDRSOgnvXo=",
        ),
    ] {
        let id: RegistrationId = id.parse().unwrap();
        assert_eq!(*group.derive_device_key(&id).to_base64(), derived);
    }
}

/// RFC 4231, test case 1.
#[test]
fn the_hmac_is_that_of_the_standard() {
    let hmac = SymmetricKey::from_bytes([0x0b; 20])
        .unwrap()
        .hmac_sha256(b"Hi There");
    let hex: String = hmac.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    );
}
