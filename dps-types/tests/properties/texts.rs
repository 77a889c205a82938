//! Ids, keys, times, tokens, paths, topics and connection strings.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dps_types::protocol::device::{self, DeviceAction, DeviceRoute};
use dps_types::protocol::mqtt::{RequestTopic, ResponseTopic, Username};
use dps_types::protocol::service::{Crud, ServiceRoute};
use dps_types::protocol::{self, ApiVersion, IfMatch, parse_retry_after};
use dps_types::sas::{SasToken, SasTokenBuilder};
use dps_types::{
    DeviceId, ETag, EnrollmentGroupId, HubHostname, IdScope, OperationId, ParseError,
    RegistrationId, ServiceConnectionString, SymmetricKey, Timestamp,
};
use proptest::prelude::*;

/// Any text, and texts that are almost valid.
fn text() -> impl Strategy<Value = String> {
    const NEAR: [&str; 9] = [
        "SharedAccessSignature sr=0ne1%2fregistrations%2fa&sig=8VPprb8BiTkuVE0hBqHm%2FSVrzVpdD8VZXcugntdbhuU%3D&se=1&skn=registration",
        "HostName=h.net;SharedAccessKeyName=p;SharedAccessKey=c2VjcmV0IHNlY3JldCBzZWNyZXQ=",
        "0ne1/registrations/a/api-version=2019-03-31&ClientVersion=b%2Fc",
        "$dps/registrations/PUT/iotdps-register/?$rid=1",
        "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId=4.x",
        "$dps/registrations/res/202/?$rid=1&retry-after=3",
        "2022-08-31T22:02:50.5163352Z",
        "2025-07-01-preview",
        "Sun, 06 Nov 1994 08:49:37 GMT",
    ];
    let near = (
        proptest::sample::select(&NEAR[..]),
        any::<prop::sample::Index>(),
        any::<char>(),
    );
    let near = near.prop_map(|(text, at, c)| {
        let mut characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len());
        characters[at] = c;
        characters.into_iter().collect()
    });
    prop_oneof![".*", near, "[ -~]{0,80}"]
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        Just("registrations".to_owned()),
        Just("enrollments".to_owned()),
        Just("enrollmentGroups".to_owned()),
        Just("query".to_owned()),
        Just("register".to_owned()),
        Just("operations".to_owned()),
        "[a-zA-Z0-9%:._-]{0,6}",
        ".{0,4}",
    ];
    prop::collection::vec(segment, 0..6).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._:-]{0,127}[A-Za-z0-9-]"
}

fn key() -> impl Strategy<Value = SymmetricKey> {
    prop::collection::vec(any::<u8>(), 16..=64)
        .prop_map(|bytes| SymmetricKey::from_bytes(bytes).expect("a valid length"))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// An accepted text is written unchanged.
fn keeps<T: std::str::FromStr<Err = ParseError> + ToString>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
    }
}

/// An accepted text is written in a form that is read as the same value.
fn settles<T: std::str::FromStr + ToString + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert!(
            written.parse::<T>().is_ok_and(|again| again == value),
            "{written}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_accepted_unchanged_or_refused(text in text()) {
        keeps::<RegistrationId>(&text);
        keeps::<EnrollmentGroupId>(&text);
        keeps::<IdScope>(&text);
        keeps::<DeviceId>(&text);
        keeps::<HubHostname>(&text);
        keeps::<OperationId>(&text);
        keeps::<ETag>(&text);
        keeps::<ApiVersion>(&text);
        settles::<Timestamp>(&text);
        settles::<Username>(&text);
        settles::<RequestTopic>(&text);
        settles::<ResponseTopic>(&text);
        let _ = text.parse::<IfMatch>();
        let _ = parse_retry_after(&text, UNIX_EPOCH);
        let _ = protocol::query_parameter(&text, "api-version");
        if let Ok(key) = SymmetricKey::from_base64(&text) {
            prop_assert_eq!(&*key.to_base64(), text.trim());
        }
        if let Ok(one) = text.parse::<ServiceConnectionString>() {
            prop_assert_eq!(one.reveal().parse(), Ok(one));
        }
        if let Ok(token) = text.parse::<SasToken>() {
            let again: SasToken = token.reveal().parse().expect("readable");
            prop_assert_eq!(format!("{token:?}"), format!("{again:?}"));
        }
    }

    #[test]
    fn any_path_has_a_route_or_is_refused(method in "GET|PUT|POST|DELETE|PATCH|", path in path()) {
        if let Ok(route) = ServiceRoute::parse(&method, &path) {
            prop_assert_eq!(ServiceRoute::parse(route.method(), &route.path()), Ok(route.clone()));
            prop_assert_eq!(route.method(), method.as_str());
        }
        if let Ok(route) = DeviceRoute::parse(&method, &path) {
            prop_assert_eq!(DeviceRoute::parse(route.method(), &route.path()), Ok(route.clone()));
            prop_assert_eq!(route.method(), method.as_str());
        }
    }

    #[test]
    fn any_id_survives_a_path(scope in "[A-Za-z0-9_-]{1,64}", id in name(), operation in "[A-Za-z0-9._:~-]{1,256}") {
        let scope: IdScope = scope.parse().expect("valid");
        let device: RegistrationId = id.parse().expect("valid");
        let operation: OperationId = operation.parse().expect("valid");
        for action in [DeviceAction::Register, DeviceAction::OperationStatus(operation), DeviceAction::Lookup] {
            let route = DeviceRoute::new(scope.clone(), device.clone(), action);
            let again = DeviceRoute::parse(route.method(), &route.path()).expect("its own path");
            prop_assert_eq!(again.registration_id.as_str(), id.as_str());
            prop_assert_eq!(again, route);
        }
        let group: EnrollmentGroupId = id.parse().expect("valid");
        for route in [
            ServiceRoute::Individual(device.clone(), Crud::Put),
            ServiceRoute::IndividualAttestation(device.clone()),
            ServiceRoute::Group(group.clone(), Crud::Delete),
            ServiceRoute::GroupAttestation(group.clone()),
            ServiceRoute::Registration(device, Crud::Get),
            ServiceRoute::RegistrationQuery(group),
        ] {
            prop_assert_eq!(ServiceRoute::parse(route.method(), &route.path()), Ok(route));
        }
    }

    #[test]
    fn two_ids_are_equal_exactly_if_their_lower_case_forms_are(one in "[aAbB.-]{0,3}[aAbB-]", other in "[aAbB.-]{0,3}[aAbB-]") {
        let (one, other) = (RegistrationId::new(one).expect("valid"), RegistrationId::new(other).expect("valid"));
        let same = one.to_lowercase() == other.to_lowercase();
        prop_assert_eq!(one == other, same);
        prop_assert_eq!(one.cmp(&other), one.to_lowercase().cmp(&other.to_lowercase()));
        if same {
            prop_assert_eq!(hash(&one), hash(&other));
        }
        prop_assert_eq!(RegistrationId::new(one.to_lowercase()), Ok(one));
    }

    #[test]
    fn any_text_survives_encoding(text in any::<String>()) {
        let encoded = protocol::encode(&text);
        prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
        prop_assert_eq!(protocol::decode(&encoded), Some(text.clone()));
        prop_assert_eq!(protocol::decode(&encoded.replace("%2F", "%2f")), Some(text));
    }

    #[test]
    fn any_moment_survives_to_100_nanoseconds(one in -62_135_596_800_i64..253_402_300_800, other in any::<i32>(), nanos in 0_u32..1_000_000_000) {
        let moment = |seconds: i64| {
            let whole = Duration::from_secs(seconds.unsigned_abs());
            let start = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
            start + Duration::from_nanos(nanos.into())
        };
        let (first, second) = (moment(one), moment(other.into()));
        let time = Timestamp::from(first);
        prop_assert_eq!(time.unix_seconds(), one);
        let text = time.to_string();
        prop_assert!(text.ends_with('Z') && !text.ends_with("0Z") || nanos < 100, "{}", text);
        prop_assert_eq!(text.parse::<Timestamp>(), Ok(time));
        prop_assert_eq!(time.cmp(&second.into()), first.cmp(&second));
    }

    #[test]
    fn a_token_has_the_values_that_were_signed(resource in "[^/\0]{1,20}.{0,20}", expiry in 0..253_402_300_800_u64, policy in prop::option::of(".{1,20}"), key in key(), other in key()) {
        let mut claim = SasTokenBuilder::new(&resource, expiry);
        if let Some(policy) = &policy {
            claim = claim.policy(policy);
        }
        let token: SasToken = claim.sign_with(&key).reveal().parse().expect("readable");
        prop_assert_eq!(token.resource(), resource.as_str());
        prop_assert_eq!(token.expires_at(), SystemTime::UNIX_EPOCH + Duration::from_secs(expiry));
        prop_assert_eq!(token.policy(), policy.as_deref());
        prop_assert!(token.covers(&resource));
        prop_assert!(token.covers(&resource.to_ascii_uppercase()));
        prop_assert!(token.verify(&key));
        prop_assert_eq!(token.verify(&other), key == other);
    }

    #[test]
    fn a_device_token_covers_its_device_and_no_other(one in name(), other in name()) {
        let scope: IdScope = "0ne00000A0A".parse().expect("valid");
        let resource = |id: &str| device::resource(&scope, &id.parse().expect("valid"));
        let key = SymmetricKey::from_bytes([7; 32]).expect("valid");
        let token = SasTokenBuilder::new(&resource(&one), 1).sign_with(&key);
        prop_assert_eq!(token.covers(&resource(&other)), one.eq_ignore_ascii_case(&other));
        prop_assert!(token.covers(&resource(&one)));
    }

    #[test]
    fn usernames_and_topics_survive(id in name(), agent in prop::option::of(any::<String>()), rid in "[^&#+\\pC]*", status in 100_u16..1000, retry in prop::option::of(any::<u64>())) {
        let mut username = Username::new("0ne1".parse().expect("valid"), id.parse().expect("valid"), ApiVersion::V2021_06_01);
        username.client_version = agent;
        prop_assert_eq!(username.to_string().parse(), Ok(username));
        for topic in [
            RequestTopic::Register { rid: rid.clone() },
            RequestTopic::OperationStatus { rid: rid.clone(), operation_id: "4.x".parse().expect("valid") },
        ] {
            prop_assert_eq!(topic.to_string().parse(), Ok(topic));
        }
        let mut topic = ResponseTopic::new(status, rid);
        if let Some(seconds) = retry {
            topic = topic.with_retry_after(seconds);
        }
        prop_assert_eq!(topic.to_string().parse(), Ok(topic));
    }

    #[test]
    fn a_connection_string_survives(host in "[a-zA-Z0-9.:-]{1,40}", policy in "[a-zA-Z0-9_=-]{1,20}", key in key()) {
        let one = ServiceConnectionString::new(host, policy, key).expect("valid");
        prop_assert_eq!(one.reveal().parse(), Ok(one));
    }

    #[test]
    fn a_derived_key_is_the_hmac_of_the_id(key in key(), id in name()) {
        let derived = key.derive_device_key(&id.parse().expect("valid"));
        prop_assert_eq!(derived, SymmetricKey::from_bytes(key.hmac_sha256(id.as_bytes())).expect("32 bytes"));
    }
}
