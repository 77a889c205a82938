//! Decides whether a request may use the control endpoint: its `Host`, its origin, its token.
//!
//! A web page of another origin can make a browser send requests to loopback. `Host` is checked against DNS rebinding, `Origin`
//! and `Sec-Fetch-Site` against forged requests. There are no CORS headers, so such a page can read nothing.

use std::net::{IpAddr, Ipv6Addr};

use ::http::{HeaderMap, Method, StatusCode, header};
use subtle::ConstantTimeEq;

use super::{ControlEndpoint, Token};
use crate::config::HostName;

/// The cookie that holds the token for the page.
pub(super) const COOKIE: &str = "dps-emulator-control";

/// The requests that may use the control endpoint.
pub(crate) struct Guard {
    /// Names that `Host` may have. IP addresses are always accepted, because no DNS entry can replace them.
    names: Vec<String>,
    token: Option<Token>,
}

/// Why a request may not use the control endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) reason: String,
}

impl Guard {
    pub(crate) fn new(options: &ControlEndpoint, host_names: &[HostName]) -> Self {
        let mut names: Vec<String> = host_names.iter().map(HostName::to_string).collect();
        names.push("localhost".to_owned());
        Self {
            names,
            token: options.token.clone(),
        }
    }

    /// Checks a request. Health and readiness need no token, because a container's health check has none.
    pub(super) fn check(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(), Denied> {
        let host = text(headers, header::HOST).unwrap_or_default();
        if !self.is_known(host) {
            return Err(Denied {
                status: StatusCode::MISDIRECTED_REQUEST,
                reason: format!(
                    "the Host '{host}' is not a name of this emulator: use an IP address, {}",
                    self.names.join(", ")
                ),
            });
        }
        check_origin(method, host, headers)?;
        match &self.token {
            Some(token) if !matches!(path, "/health" | "/ready") && !has_token(headers, token) => {
                Err(Denied {
                    status: StatusCode::UNAUTHORIZED,
                    reason: "this address requires the header Authorization: Bearer TOKEN, or once a page at /?token=TOKEN".to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether this is the token.
    pub(super) fn is_token(&self, text: &str) -> bool {
        let token = self.token.as_ref();
        token.is_some_and(|token| is_same(token, text))
    }

    /// Whether `Host` is an IP address or a known name, with or without a port.
    fn is_known(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => host,
        };
        let bare = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        if bare.is_some_and(|it| it.parse::<Ipv6Addr>().is_ok()) || name.parse::<IpAddr>().is_ok() {
            return true;
        }
        self.names.iter().any(|it| it.eq_ignore_ascii_case(name))
    }
}

/// Refuses a request that a page of another origin makes.
fn check_origin(method: &Method, host: &str, headers: &HeaderMap) -> Result<(), Denied> {
    let denied = |reason: String| {
        Err(Denied {
            status: StatusCode::FORBIDDEN,
            reason,
        })
    };
    if let Some(origin) = headers.get(header::ORIGIN) {
        let own = format!("http://{host}");
        let is_own = origin
            .to_str()
            .is_ok_and(|it| it.eq_ignore_ascii_case(&own));
        if !is_own {
            return denied(format!("the Origin is not {own}"));
        }
    }
    let site = text(headers, "sec-fetch-site").unwrap_or("none");
    // A link or a bookmark may open the page.
    let is_navigation =
        method == Method::GET && text(headers, "sec-fetch-mode") == Some("navigate");
    if !matches!(site, "none" | "same-origin") && !is_navigation {
        return denied(format!(
            "a request of another site (Sec-Fetch-Site: {site})"
        ));
    }
    Ok(())
}

fn has_token(headers: &HeaderMap, token: &Token) -> bool {
    let bearer = text(headers, header::AUTHORIZATION)
        .and_then(|it| it.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let cookies = text(headers, header::COOKIE).unwrap_or_default();
    let cookie = cookies
        .split(';')
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value);
    bearer
        .into_iter()
        .chain(cookie)
        .any(|shown| is_same(token, shown))
}

fn is_same(token: &Token, shown: &str) -> bool {
    token.as_bytes().ct_eq(shown.as_bytes()).into()
}

fn text(headers: &HeaderMap, name: impl header::AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(token: Option<&str>) -> Guard {
        let mut options = ControlEndpoint::default();
        if let Some(token) = token {
            options = options.token(token);
        }
        Guard::new(&options, &["dps.example".parse().expect("a name")])
    }

    fn status(guard: &Guard, method: &Method, path: &str, fields: &[(&str, &str)]) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = header::HeaderName::try_from(*name).expect("a name");
            headers.insert(name, value.parse().expect("a value"));
        }
        match guard.check(method, path, &headers) {
            Ok(()) => 200,
            Err(denied) => denied.status.as_u16(),
        }
    }

    #[test]
    fn the_host_must_be_an_address_or_a_name_of_the_emulator() {
        let guard = guard(None);
        for (host, expected) in [
            ("127.0.0.1:8080", 200),
            ("[::1]:8080", 200),
            ("localhost", 200),
            ("LOCALHOST:80", 200),
            ("dps.example:8080", 200),
            ("192.0.2.1:8080", 200),
            ("evil.example:8080", 421),
            ("localhost.evil.example", 421),
            ("127.0.0.1.evil.example:8080", 421),
            ("", 421),
            ("[evil]:80", 421),
        ] {
            let fields = [("host", host)];
            assert_eq!(
                status(&guard, &Method::GET, "/state", &fields),
                expected,
                "{host}"
            );
        }
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let guard = guard(None);
        let host = ("host", "localhost:8080");
        for (method, fields, expected) in [
            (Method::POST, vec![host], 200),
            (
                Method::POST,
                vec![host, ("origin", "http://localhost:8080")],
                200,
            ),
            (
                Method::POST,
                vec![host, ("origin", "http://localhost:8081")],
                403,
            ),
            (
                Method::POST,
                vec![host, ("origin", "https://localhost:8080")],
                403,
            ),
            (Method::POST, vec![host, ("origin", "null")], 403),
            (
                Method::GET,
                vec![host, ("origin", "http://evil.example")],
                403,
            ),
            (
                Method::GET,
                vec![host, ("sec-fetch-site", "cross-site")],
                403,
            ),
            (
                Method::GET,
                vec![host, ("sec-fetch-site", "same-site")],
                403,
            ),
            (
                Method::GET,
                vec![host, ("sec-fetch-site", "same-origin")],
                200,
            ),
            (
                Method::GET,
                vec![
                    host,
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                ],
                200,
            ),
            (
                Method::POST,
                vec![
                    host,
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                ],
                403,
            ),
        ] {
            assert_eq!(
                status(&guard, &method, "/reset", &fields),
                expected,
                "{method} {fields:?}"
            );
        }
    }

    #[test]
    fn the_token_is_a_header_or_a_cookie() {
        let guard = guard(Some("s3cret"));
        let host = ("host", "127.0.0.1:8080");
        let cookie = format!("a=b; {COOKIE}=s3cret");
        for (path, fields, expected) in [
            ("/state", vec![host], 401),
            ("/health", vec![host], 200),
            ("/ready", vec![host], 200),
            (
                "/state",
                vec![host, ("authorization", "Bearer s3cret")],
                200,
            ),
            (
                "/state",
                vec![host, ("authorization", "bearer s3cret")],
                200,
            ),
            ("/state", vec![host, ("authorization", "Bearer s3cre")], 401),
            ("/state", vec![host, ("authorization", "s3cret")], 401),
            ("/state", vec![host, ("cookie", &cookie)], 200),
            (
                "/state",
                vec![host, ("cookie", "x-dps-emulator-control=s3cret")],
                401,
            ),
        ] {
            assert_eq!(
                status(&guard, &Method::GET, path, &fields),
                expected,
                "{path} {fields:?}"
            );
        }
        assert!(guard.is_token("s3cret"));
        assert!(!guard.is_token(""));
    }
}
