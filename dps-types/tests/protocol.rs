//! Paths, headers and api-versions as literals: written and read, each pinned on its own.

use std::time::{Duration, UNIX_EPOCH};

use dps_types::protocol::device::{self, DeviceAction, DeviceRoute};
use dps_types::protocol::service::{self, Crud, ServiceRoute};
use dps_types::protocol::{
    self, ApiVersion, IfMatch, RouteError, parse_retry_after, query_parameter,
};
use dps_types::{ETag, EnrollmentGroupId, RegistrationId};

fn id(text: &str) -> RegistrationId {
    text.parse().expect("valid")
}

fn group(text: &str) -> EnrollmentGroupId {
    text.parse().expect("valid")
}

fn device_route(id: &str, action: DeviceAction) -> DeviceRoute {
    DeviceRoute::new("0ne00000A0A".parse().expect("valid"), self::id(id), action)
}

fn operation() -> DeviceAction {
    let id = "5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550";
    DeviceAction::OperationStatus(id.parse().expect("valid"))
}

#[test]
fn device_requests_are_written_as_specified() {
    for (id, action, method, path) in [
        (
            "dev1",
            DeviceAction::Register,
            "PUT",
            "/0ne00000A0A/registrations/dev1/register",
        ),
        (
            "dev1",
            operation(),
            "GET",
            "/0ne00000A0A/registrations/dev1/operations/5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550",
        ),
        (
            "dev1",
            DeviceAction::Lookup,
            "POST",
            "/0ne00000A0A/registrations/dev1",
        ),
        (
            "A:b.c_d-",
            DeviceAction::Register,
            "PUT",
            "/0ne00000A0A/registrations/A%3Ab.c_d-/register",
        ),
    ] {
        let route = device_route(id, action);
        assert_eq!((route.method(), route.path().as_str()), (method, path));
    }
}

#[test]
fn device_requests_are_read_as_clients_write_them() {
    let operations = "/0ne00000A0A/registrations/dev1/operations/5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550";
    for (method, path, id, action) in [
        (
            "PUT",
            "/0ne00000A0A/registrations/dev1/register",
            "dev1",
            DeviceAction::Register,
        ),
        ("GET", operations, "dev1", operation()),
        (
            "POST",
            "/0ne00000A0A/registrations/dev1",
            "dev1",
            DeviceAction::Lookup,
        ),
        (
            "PUT",
            "/0NE00000a0a/Registrations/dev1/REGISTER",
            "dev1",
            DeviceAction::Register,
        ),
        (
            "PUT",
            "/0ne00000A0A/registrations/a%3Ab/register",
            "a:b",
            DeviceAction::Register,
        ),
        (
            "PUT",
            "/0ne00000A0A/registrations/a%3ab/register",
            "a:b",
            DeviceAction::Register,
        ),
        (
            "PUT",
            "/0ne00000A0A/registrations/a:b/register",
            "a:b",
            DeviceAction::Register,
        ),
        (
            "PUT",
            "/0ne00000A0A/registrations/%64ev1/register",
            "dev1",
            DeviceAction::Register,
        ),
        (
            "PUT",
            "/0ne00000A0A/registrations/register/register",
            "register",
            DeviceAction::Register,
        ),
    ] {
        assert_eq!(
            DeviceRoute::parse(method, path),
            Ok(device_route(id, action)),
            "{path}"
        );
    }
    let route = DeviceRoute::parse("POST", "/0ne1/registrations/Dev1").unwrap();
    assert_eq!(route.registration_id.as_str(), "Dev1", "the case is kept");
}

#[test]
fn a_device_request_that_goes_nowhere_says_why() {
    for (method, path) in [
        ("GET", ""),
        ("GET", "/"),
        ("PUT", "0ne1/registrations/dev1/register"),
        ("PUT", "/0ne1/registration/dev1/register"),
        ("PUT", "/0ne1/registrations"),
        ("PUT", "/0ne1/registrations/dev1/enroll"),
        ("GET", "/0ne1/registrations/dev1/operations"),
        ("GET", "/0ne1/registrations/dev1/operations/4.x/more"),
        ("PUT", "/0ne1/registrations/%FF/register"),
    ] {
        assert_eq!(
            DeviceRoute::parse(method, path),
            Err(RouteError::NotFound),
            "{path}"
        );
    }
    for (method, path) in [
        ("GET", "/0ne1/registrations/dev1/register"),
        ("POST", "/0ne1/registrations/dev1/register"),
        ("put", "/0ne1/registrations/dev1/register"),
        ("PUT", "/0ne1/registrations/dev1/operations/4.x"),
        ("GET", "/0ne1/registrations/dev1"),
        ("DELETE", "/0ne1/registrations/dev1"),
    ] {
        let answer = DeviceRoute::parse(method, path);
        assert_eq!(answer, Err(RouteError::MethodNotAllowed), "{method} {path}");
    }
    for (path, expected) in [
        ("/0ne%201/registrations/dev1/register", "id scope"),
        ("//registrations/dev1/register", "id scope"),
        ("/0ne1/registrations/a%20b/register", "registration id"),
        ("/0ne1/registrations/a%2Fb/register", "registration id"),
        ("/0ne1/registrations//register", "registration id"),
        ("/0ne1/registrations/dev1./register", "registration id"),
        ("/0ne1/registrations/dev1%00/register", "registration id"),
    ] {
        match DeviceRoute::parse("PUT", path) {
            Err(RouteError::BadId(error)) => assert_eq!(error.expected(), expected, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    let answer = DeviceRoute::parse("GET", "/0ne1/registrations/dev1/operations/a%23b");
    assert!(matches!(answer, Err(RouteError::BadId(_))), "{answer:?}");
}

#[test]
fn service_requests_are_written_as_specified() {
    use ServiceRoute as Route;
    for (route, method, path) in [
        (
            Route::Individual(id("dev1"), Crud::Get),
            "GET",
            "/enrollments/dev1",
        ),
        (
            Route::Individual(id("a:b"), Crud::Put),
            "PUT",
            "/enrollments/a%3Ab",
        ),
        (
            Route::Individual(id("dev1"), Crud::Delete),
            "DELETE",
            "/enrollments/dev1",
        ),
        (
            Route::IndividualAttestation(id("dev1")),
            "POST",
            "/enrollments/dev1/attestationmechanism",
        ),
        (Route::IndividualQuery, "POST", "/enrollments/query"),
        (Route::IndividualBulk, "POST", "/enrollments"),
        (
            Route::Group(group("grp"), Crud::Get),
            "GET",
            "/enrollmentGroups/grp",
        ),
        (
            Route::Group(group("grp"), Crud::Put),
            "PUT",
            "/enrollmentGroups/grp",
        ),
        (
            Route::Group(group("g:1"), Crud::Delete),
            "DELETE",
            "/enrollmentGroups/g%3A1",
        ),
        (
            Route::GroupAttestation(group("grp")),
            "POST",
            "/enrollmentGroups/grp/attestationmechanism",
        ),
        (Route::GroupQuery, "POST", "/enrollmentGroups/query"),
        (Route::GroupBulk, "POST", "/enrollmentGroups"),
        (
            Route::Registration(id("dev1"), Crud::Get),
            "GET",
            "/registrations/dev1",
        ),
        (
            Route::Registration(id("dev1"), Crud::Delete),
            "DELETE",
            "/registrations/dev1",
        ),
        (
            Route::RegistrationQuery(group("grp")),
            "POST",
            "/registrations/grp/query",
        ),
    ] {
        assert_eq!((route.method(), route.path().as_str()), (method, path));
    }
}

#[test]
fn service_requests_are_read_as_clients_write_them() {
    use ServiceRoute as Route;
    for (method, path, route) in [
        (
            "GET",
            "/enrollments/dev1",
            Route::Individual(id("dev1"), Crud::Get),
        ),
        (
            "PUT",
            "/enrollments/a%3ab",
            Route::Individual(id("a:b"), Crud::Put),
        ),
        (
            "PUT",
            "/enrollments/a:b",
            Route::Individual(id("a:b"), Crud::Put),
        ),
        (
            "DELETE",
            "/ENROLLMENTS/dev1",
            Route::Individual(id("dev1"), Crud::Delete),
        ),
        (
            "POST",
            "/enrollments/dev1/attestationMechanism",
            Route::IndividualAttestation(id("dev1")),
        ),
        ("POST", "/enrollments/query", Route::IndividualQuery),
        ("POST", "/enrollments/QUERY", Route::IndividualQuery),
        ("POST", "/enrollments", Route::IndividualBulk),
        ("POST", "/enrollments/", Route::IndividualBulk),
        (
            "GET",
            "/enrollmentgroups/grp",
            Route::Group(group("grp"), Crud::Get),
        ),
        (
            "PUT",
            "/enrollmentGroups/grp/",
            Route::Group(group("grp"), Crud::Put),
        ),
        (
            "DELETE",
            "/enrollmentGroups/g%3A1",
            Route::Group(group("g:1"), Crud::Delete),
        ),
        (
            "POST",
            "/enrollmentgroups/grp/attestationmechanism",
            Route::GroupAttestation(group("grp")),
        ),
        ("POST", "/enrollmentGroups/query", Route::GroupQuery),
        ("POST", "/enrollmentGroups/", Route::GroupBulk),
        (
            "GET",
            "/registrations/dev1",
            Route::Registration(id("dev1"), Crud::Get),
        ),
        (
            "DELETE",
            "/registrations/dev1",
            Route::Registration(id("dev1"), Crud::Delete),
        ),
        (
            "POST",
            "/registrations/grp/query",
            Route::RegistrationQuery(group("grp")),
        ),
        (
            "POST",
            "/registrations/query/query",
            Route::RegistrationQuery(group("query")),
        ),
    ] {
        assert_eq!(
            ServiceRoute::parse(method, path),
            Ok(route),
            "{method} {path}"
        );
    }
}

#[test]
fn a_service_request_that_goes_nowhere_says_why() {
    for (method, path) in [
        ("GET", ""),
        ("GET", "/"),
        ("GET", "enrollments/dev1"),
        ("GET", "/devices/dev1"),
        ("GET", "/registrations"),
        ("POST", "/enrollments/dev1/attestation"),
        ("POST", "/registrations/grp/query/more"),
        ("GET", "/enrollments/%C3%28"),
    ] {
        assert_eq!(
            ServiceRoute::parse(method, path),
            Err(RouteError::NotFound),
            "{path}"
        );
    }
    for (method, path) in [
        ("GET", "/enrollments"),
        ("POST", "/enrollments/dev1"),
        ("PATCH", "/enrollments/dev1"),
        ("GET", "/enrollments/dev1/attestationmechanism"),
        ("PUT", "/enrollmentGroups"),
        ("POST", "/enrollmentGroups/grp"),
        ("GET", "/enrollmentGroups/grp/attestationmechanism"),
        ("PUT", "/registrations/dev1"),
        ("GET", "/registrations/grp/query"),
    ] {
        let answer = ServiceRoute::parse(method, path);
        assert_eq!(answer, Err(RouteError::MethodNotAllowed), "{method} {path}");
    }
    for (method, path, expected) in [
        ("GET", "/enrollments/a%20b", "registration id"),
        ("GET", "/enrollments//", "registration id"),
        ("PUT", "/enrollmentGroups/a%2Fb", "enrollment group id"),
        ("POST", "/registrations/grp_/query", "enrollment group id"),
        ("DELETE", "/registrations/%00", "registration id"),
    ] {
        match ServiceRoute::parse(method, path) {
            Err(RouteError::BadId(error)) => assert_eq!(error.expected(), expected, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}

#[test]
fn an_error_of_a_route_is_worded_once() {
    let error = ServiceRoute::parse("GET", "/enrollments/a.").expect_err("a bad id");
    assert_eq!(
        error.to_string(),
        "invalid registration id: the last character must be alphanumeric or '-'"
    );
    assert_eq!(RouteError::NotFound.to_string(), "there is no such path");
    assert_eq!(
        RouteError::MethodNotAllowed.to_string(),
        "the method does not go with this path"
    );
}

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
    ];
    assert!(ordered.map(version).is_sorted_by(|one, next| one < next));
    assert_eq!(ordered.map(version), ApiVersion::KNOWN);
    for text in ordered {
        assert_eq!(version(text).to_string(), text);
        assert!(version(text).is_known());
    }
    assert!(version("2025-07-01-preview") < version("2025-07-01"));
    assert!(version("2025-07-01-preview") > version("2025-06-30"));
    assert!(!version("2026-11-01").is_known());
    assert_eq!(ApiVersion::V2021_06_01.to_string(), "2021-06-01");
}

#[test]
fn what_is_no_api_version_is_refused() {
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
fn names_on_the_wire_are_the_services() {
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
