//! Checks the head of a request, before its body is read: method, function key, content type.

use dps_types::ErrorCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Method};

use super::Webhook;
use super::function_key::KeyError;
use crate::Rejection;

impl Webhook {
    /// Checks everything that needs no body.
    pub(crate) fn check_head(&self, head: &Parts) -> Result<(), Rejection> {
        if head.method != Method::POST {
            return Err(Rejection::new("the method must be POST")
                .with_status(405)
                .with_error_code(ErrorCode::METHOD_NOT_ALLOWED));
        }
        self.function_keys
            .check(head)
            .map_err(|error| match error {
                KeyError::MissingOrWrong => Rejection::new("the function key is missing or wrong")
                    .with_status(401)
                    .with_error_code(ErrorCode::UNAUTHORIZED),
                KeyError::Ambiguous => {
                    Rejection::new("the request has more than one function key: send exactly one")
                        .with_error_code(ErrorCode::ARGUMENT_INVALID)
                }
            })?;
        if !is_json_in_utf8(&head.headers) {
            let message = "the Content-Type must be application/json in UTF-8";
            return Err(Rejection::new(message)
                .with_status(415)
                .with_error_code(ErrorCode::UNSUPPORTED_MEDIA_TYPE));
        }
        Ok(())
    }
}

fn is_json_in_utf8(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    // A second header could name another type, and another reader might use that one.
    match (types.next(), types.next()) {
        (Some(value), None) => value.to_str().is_ok_and(is_json),
        _ => false,
    }
}

/// Returns true if a `Content-Type` is `application/json`, without a charset or with UTF-8.
pub(crate) fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let is_utf8 = |charset: &str| {
        let charset = charset.trim_matches('"');
        charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
    };
    essence.eq_ignore_ascii_case("application/json")
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
                is_utf8(charset.trim())
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf8_is_json() {
        for json in [
            "application/json",
            "Application/JSON",
            "application/json;",
            " application/json ; charset=utf-8",
            "application/json; charset=UTF-8",
            "application/json; charset=\"utf-8\"",
            "application/json;charset=utf8",
            "application/json; version=1; charset=utf-8",
        ] {
            assert!(is_json(json), "{json:?}");
        }
        for other in [
            "",
            "json",
            "text/json",
            "text/plain; note=application/json",
            "application/jsonp",
            "application/problem+json",
            "application/json, text/plain",
            "application/json; charset=utf-16",
            "application/json; charset=iso-8859-1",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json; charset=",
        ] {
            assert!(!is_json(other), "{other:?}");
        }
    }
}
