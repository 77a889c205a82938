//! Request lines: an accepted route is formatted so that it is parsed as the same route.
#![no_main]

use dps_types::protocol::device::DeviceRoute;
use dps_types::protocol::query_parameter;
use dps_types::protocol::service::ServiceRoute;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let _ = query_parameter(query, "api-version");
    for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
        if let Ok(route) = DeviceRoute::parse(method, path) {
            assert_eq!(route.method(), method);
            assert_eq!(DeviceRoute::parse(method, &route.path()), Ok(route));
        }
        if let Ok(route) = ServiceRoute::parse(method, path) {
            assert_eq!(route.method(), method);
            assert_eq!(ServiceRoute::parse(method, &route.path()), Ok(route));
        }
    }
});
