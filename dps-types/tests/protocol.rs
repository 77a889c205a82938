//! Headers, query parameters, api-versions and fixed names as literals.

use std::time::{Duration, UNIX_EPOCH};

use dps_types::ETag;
use dps_types::protocol::{
    self, ApiVersion, IfMatch, device, parse_retry_after, query_parameter, service,
};

#[test]
fn api_versions_are_ordered_by_date_and_a_preview_comes_first() {
    let version = |text: &str| text.parse::<ApiVersion>().expect(text);
    let ordered = [
        "2017-08-21-preview",
        "2017-08-31-preview",
        "2017-11-15",
        "2018-04-01",
        "2018-09-01-preview",
        "2018-11-01",
        "2019-03-31",
        "2019-04-15",
        "2021-06-01",
        "2021-10-01",
        "2025-07-01-preview",
        "2026-11-01",
        "2026-11-02-preview",
    ];
    assert!(ordered.map(version).is_sorted_by(|one, next| one < next));
    assert_eq!(ordered.map(version), ApiVersion::KNOWN);
    for text in ordered {
        assert_eq!(version(text).to_string(), text);
        assert!(version(text).is_known());
    }
    assert!(version("2025-07-01-preview") < version("2025-07-01"));
    assert!(version("2025-07-01-preview") > version("2025-06-30"));
    assert!(!version("2026-11-15-preview").is_known());
    assert_eq!(ApiVersion::V2021_06_01.to_string(), "2021-06-01");
}

#[test]
fn an_invalid_api_version_is_refused() {
    for text in [
        "",
        "2021",
        "2021-6-1",
        "2021-06-01-PREVIEW",
        "2021-06-01-beta",
        "2021-06-01 ",
        "20210601",
        "2021-13-01",
        "2021-00-01",
        "2021-06-32",
        "2021-06-00",
        "2021/06/01",
        "+021-06-01",
        "2021-é-1",
    ] {
        assert!(text.parse::<ApiVersion>().is_err(), "{text}");
    }
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
    let century = 100 * 365 * 24 * 60 * 60;
    for (text, seconds) in [
        ("0", Some(0)),
        ("3", Some(3)),
        (" 600 ", Some(600)),
        ("007", Some(7)),
        ("99999999999999999999999999", Some(century)),
        ("18446744073709551615", Some(century)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
        ("Sunday, 06-Nov-94 08:49:37 GMT", Some(7)),
        ("Sun, 06 Nov 1994 08:49:29 GMT", Some(0)),
        ("Sat, 01 Jan 9999 00:00:00 GMT", None),
        ("Fri, 01 Jan 9999 00:00:00 GMT", Some(century)),
        ("", None),
        ("-1", None),
        ("+3", None),
        ("1.5", None),
        ("3s", None),
        ("soon", None),
        ("３", None),
    ] {
        let waited = parse_retry_after(text, now);
        assert_eq!(waited, seconds.map(Duration::from_secs), "{text:?}");
    }
}

#[test]
fn if_match_has_four_spellings() {
    let etag: ETag = "IjBhMDBiNzQyLTAwMDAi".parse().unwrap();
    for (text, expected) in [
        ("IjBhMDBiNzQyLTAwMDAi", IfMatch::Version(etag.clone())),
        ("\"IjBhMDBiNzQyLTAwMDAi\"", IfMatch::Version(etag.clone())),
        ("*", IfMatch::Any),
        ("\"*\"", IfMatch::Any),
        (" * ", IfMatch::Any),
    ] {
        let condition: IfMatch = text.parse().expect(text);
        assert_eq!(condition, expected);
        assert!(condition.matches(&etag));
    }
    let other: IfMatch = "IjBhMDBiNzQyLTAwMDEi".parse().unwrap();
    assert!(!other.matches(&etag));
    assert_eq!(IfMatch::Any.to_string(), "*");
    assert_eq!(IfMatch::Version(etag).to_string(), "IjBhMDBiNzQyLTAwMDAi");
    for text in ["", "\"\"", "a b", "ä"] {
        assert!(text.parse::<IfMatch>().is_err(), "{text:?}");
    }
}

#[test]
fn query_parameters_are_found_in_any_case_and_decoded() {
    let query = "forceRegistration=true&API-Version=2021-06-01&x=%2B+%e4%bd%a0&flag";
    assert_eq!(
        query_parameter(query, "api-version").as_deref(),
        Some("2021-06-01")
    );
    assert_eq!(query_parameter(query, "x").as_deref(), Some("++你"));
    assert_eq!(query_parameter(query, "flag").as_deref(), Some(""));
    assert_eq!(query_parameter(query, "version"), None);
    assert_eq!(query_parameter("", "x"), None);
    assert_eq!(
        query_parameter("%FF=1&x=%FF&x=2", "x").as_deref(),
        Some("2")
    );
}

#[test]
fn one_encoder_serves_path_and_signature() {
    assert_eq!(
        protocol::encode("AZaz09-._~ :/+%=&?#ä"),
        "AZaz09-._~%20%3A%2F%2B%25%3D%26%3F%23%C3%A4"
    );
    assert_eq!(protocol::decode("%2F%2f%zz%4").as_deref(), Some("//%zz%4"));
    assert_eq!(protocol::decode("%FF"), None);
}

#[test]
fn names_on_the_wire_are_those_of_the_service() {
    assert_eq!(device::GLOBAL_HOST, "global.azure-devices-provisioning.net");
    assert_eq!(device::SAS_POLICY, "registration");
    assert_eq!(
        service::ENTRA_SCOPE,
        "https://azure-devices-provisioning.net/.default"
    );
    assert_eq!(ApiVersion::PARAMETER, "api-version");
    assert_eq!(
        [
            protocol::REQUEST_ID,
            protocol::ERROR_CODE,
            protocol::ITEM_TYPE,
            protocol::MAX_ITEM_COUNT,
            protocol::CONTINUATION,
        ],
        [
            "x-ms-request-id",
            "x-ms-error-code",
            "x-ms-item-type",
            "x-ms-max-item-count",
            "x-ms-continuation",
        ]
    );
}

#[test]
fn the_first_of_several_query_parameters_wins() {
    use dps_types::protocol::query_parameter;
    for (query, value) in [
        ("a=1&a=2", Some("1")),
        ("A=1&a=2", Some("1")),
        ("b=0&%61=1&a=2", Some("1")),
        ("a&a=2", Some("")),
        ("a=%FF&a=2", Some("2")),
        ("a=1+2", Some("1+2")),
        ("a=b=c", Some("b=c")),
        ("&&a=1", Some("1")),
        ("aa=1", None),
        ("", None),
    ] {
        assert_eq!(query_parameter(query, "a").as_deref(), value, "{query}");
    }
}
