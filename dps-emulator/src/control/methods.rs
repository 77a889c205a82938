//! The methods that each path of the control endpoint answers.

use super::reply::Failure;

/// 405 with the methods of the path, or 404.
pub(super) fn not_answered(path: &[&str]) -> Failure {
    let methods = match path {
        [] | ["page", ..] => "GET",
        [
            "health" | "ready" | "metrics" | "ca.pem" | "connection" | "openapi.json" | "hubs"
            | "page.js" | "page.css",
        ]
        | ["exchanges", "stream"]
        | ["hubs", _, "devices"]
        | ["hubs", _, "devices", _, "telemetry"] => "GET",
        ["exchanges"] => "GET, DELETE",
        ["faults"] => "GET, POST, DELETE",
        ["recording"] => "GET, POST, DELETE",
        ["recording", "replay"] => "POST",
        ["faults", _] => "DELETE",
        ["clock" | "state"] => "GET, PUT",
        ["clock", "advance"]
        | ["reset" | "deviceKey"]
        | ["hubs", _, "devices", _, "disconnect" | "methods"]
        | ["issuedCertificates", _, "revoke" | "expire"] => "POST",
        ["hubs", _, "devices", _, "messages"] => "GET, POST",
        ["hubs", _, "devices", _] => "GET, PATCH, DELETE",
        ["hubs", _, "devices", _, "twin"] => "PATCH",
        _ => return Failure::not_found("the path does not exist: /openapi.json lists them"),
    };
    Failure::method_not_allowed(methods)
}
