//! The host of an absolute request target, which replaces the `Host` header.
//!
//! Source: RFC 9112, section 3.2.2.

use ::http::header::HOST;
use ::http::{HeaderValue, Request};

/// Replaces the `Host` header by the host of the target, if the target is absolute. Two `Host` headers stay, so that the request is
/// refused.
pub(crate) fn replace_host<B>(request: &mut Request<B>) {
    let Some(authority) = request.uri().authority() else {
        return;
    };
    // A user name does not belong to the host.
    let host = authority.as_str().rsplit('@').next().unwrap_or_default();
    let Ok(host) = HeaderValue::from_str(host) else {
        return;
    };
    if request.headers().get_all(HOST).iter().nth(1).is_none() {
        request.headers_mut().insert(HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_absolute_target_replaces_the_header() {
        let cases: [(&str, &[&str], &[&str]); 9] = [
            ("/enrollments/a", &["b"], &["b"]),
            ("/enrollments/a", &[], &[]),
            ("https://a/enrollments/a", &["b"], &["a"]),
            ("https://a/enrollments/a", &[], &["a"]),
            ("http://a:8443/?q=1", &["b:1"], &["a:8443"]),
            ("http://[::1]:8443/", &["b"], &["[::1]:8443"]),
            ("http://user:password@a:1/", &["b"], &["a:1"]),
            ("http://b@a/", &["b"], &["a"]),
            ("https://a/", &["b", "c"], &["b", "c"]),
        ];
        for (target, hosts, expected) in cases {
            let mut request = Request::builder().uri(target);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let mut request = request.body(()).expect("a request");
            replace_host(&mut request);
            let found: Vec<&HeaderValue> = request.headers().get_all(HOST).iter().collect();
            assert_eq!(found, expected, "{target} {hosts:?}");
        }
    }
}
