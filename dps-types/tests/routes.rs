//! Paths of both APIs as literals: written and parsed, each tested separately.

use dps_types::protocol::RouteError;
use dps_types::protocol::device::{DeviceAction, DeviceRoute};
use dps_types::protocol::service::{Crud, ServiceRoute};
use dps_types::{EnrollmentGroupId, RegistrationId};

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
fn a_device_request_without_a_route_is_refused_with_a_reason() {
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
fn a_service_request_without_a_route_is_refused_with_a_reason() {
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
fn an_error_of_a_route_has_one_text() {
    let error = ServiceRoute::parse("GET", "/enrollments/a.").expect_err("a bad id");
    assert_eq!(
        error.to_string(),
        "invalid registration id: the last character must be alphanumeric or '-'"
    );
    assert_eq!(RouteError::NotFound.to_string(), "the path does not exist");
    assert_eq!(
        RouteError::MethodNotAllowed.to_string(),
        "the method is not allowed for this path"
    );
}
