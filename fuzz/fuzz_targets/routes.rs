//! A request line: it leads to a route that writes itself so that it is read as the same, or nowhere.
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
