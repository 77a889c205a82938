//! Recognizes a web page in place of the service's JSON: a block page, a captive portal, the error page of a proxy.

use dps_types::json;

use super::error::TransportError;
use crate::error::ErrorKind;

/// The error for an answer that does not come from DPS, `None` for one that may.
///
/// DPS answers with JSON or with an empty body only. A page with any status therefore comes from another server.
pub(super) fn check(
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
) -> Option<TransportError> {
    let what = match status {
        _ if is_page(content_type, body) => {
            "a web page was answered in place of the service's JSON"
        }
        407 => "a proxy on the way requires authentication",
        511 => "a captive portal on the way requires a login",
        _ => return None,
    };
    Some(
        TransportError::new(
            ErrorKind::Protocol,
            format!(
                "{what} (status {status}): a proxy, a firewall or a captive portal answered, not DPS; ask the administrator of \
                 the network to allow the connection, and check the host"
            ),
        )
        .with_status(status),
    )
}

fn is_page(content_type: Option<&str>, body: &[u8]) -> bool {
    let essence = content_type
        .and_then(|value| value.split(';').next())
        .map(str::trim)
        .unwrap_or_default();
    let is_html = ["text/html", "application/xhtml+xml"]
        .iter()
        .any(|html| essence.eq_ignore_ascii_case(html));
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // A page may be labelled as JSON, and no JSON document starts with this character.
    is_html && !is_json(body) || body.trim_ascii_start().starts_with(b"<")
}

/// Some gateways label the JSON of the service behind them as HTML.
fn is_json(body: &[u8]) -> bool {
    json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Blocked</title></head></html>";

    #[test]
    fn a_page_of_any_status_does_not_come_from_the_service() {
        for status in [
            200, 202, 302, 400, 401, 403, 404, 407, 429, 500, 502, 503, 511,
        ] {
            let error = check(
                status,
                Some("text/html; charset=iso-8859-1"),
                PAGE.as_bytes(),
            );
            let error = error.unwrap();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            let text = error.to_string();
            assert!(text.contains(&status.to_string()), "{text}");
            assert!(text.contains("administrator of the network"), "{text}");
        }
    }

    #[test]
    fn a_page_is_recognized_by_its_type_or_its_first_character() {
        for (content_type, body) in [
            (Some("text/html"), ""),
            (Some("text/html"), "Blocked"),
            (Some("TEXT/HTML"), PAGE),
            (Some(" text/html ;charset=utf-8"), PAGE),
            (Some("application/xhtml+xml"), "<html/>"),
            (Some("application/json"), PAGE),
            (Some("text/plain"), "\r\n\t <html>"),
            (Some(""), "<?xml version=\"1.0\"?><html/>"),
            (None, "\u{feff}<html>"),
            (None, "<"),
        ] {
            assert!(
                is_page(content_type, body.as_bytes()),
                "{content_type:?} {body}"
            );
        }
    }

    #[test]
    fn an_answer_of_the_service_is_not_a_page() {
        for (content_type, body) in [
            (
                Some("application/json; charset=utf-8"),
                "{\"message\":\"<html>\"}",
            ),
            (Some("application/json"), ""),
            (Some("text/html"), "{\"errorCode\":401002}"),
            (Some("text/plain"), "Unauthorized"),
            (None, ""),
            (None, "null"),
        ] {
            assert!(
                !is_page(content_type, body.as_bytes()),
                "{content_type:?} {body}"
            );
        }
        assert!(check(401, Some("application/json"), b"{}").is_none());
        assert!(check(407, None, b"").is_some());
    }
}
