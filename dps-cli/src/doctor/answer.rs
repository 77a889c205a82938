//! An answer without credentials: whether it comes from DPS, and its date.

use std::time::SystemTime;

use reqwest::StatusCode;

use super::clock;
use super::finding::{Findings, chain_of};
use super::place::{Place, STEP};
use crate::context::Context;
use crate::device::DeviceOptions;
use crate::failure::Result;
use crate::http;

/// Any api-version that every instance accepts: the status of an operation needs no body.
const API_VERSION: &str = "2021-06-01";

pub(super) async fn check(
    place: &Place,
    device: &DeviceOptions,
    context: &Context,
    findings: &mut Findings,
) -> Result {
    let scope = device
        .id_scope(context)
        .map_or_else(|_| "0ne00000000".to_owned(), |scope| scope.to_string());
    let port = device.transport_options().https_port;
    let url = format!(
        "https://{}:{port}/{scope}/registrations/doctor/operations/doctor?api-version={API_VERSION}",
        place.host.for_url()
    );
    let client = http::client(place.roots.clone(), place.proxy.as_ref())?;
    let answer = match client.get(url).timeout(STEP).send().await {
        Ok(answer) => answer,
        Err(error) => {
            let error = error.without_url();
            let advice = match error.is_timeout() {
                true => {
                    "the connection opens, but nothing answers: a firewall may drop the traffic, or the service is overloaded"
                }
                false => {
                    "another server answers on this port: check the host, the port, and firewalls on the way"
                }
            };
            findings.problem(
                "answer",
                format!("the server does not answer: {}", chain_of(&error)),
                advice,
            );
            return Ok(());
        }
    };
    let now = SystemTime::now();
    let header = |name: &str| {
        answer
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let (status, date, content_type) = (
        answer.status(),
        header("date"),
        header("content-type").unwrap_or_default(),
    );
    let body = http::body(answer).await.unwrap_or_default();
    clock::check(date.as_deref(), now, findings);
    from_dps(status, &content_type, &body, findings);
    Ok(())
}

/// DPS answers with JSON, also when it refuses a request.
fn from_dps(status: StatusCode, content_type: &str, body: &[u8], findings: &mut Findings) {
    let error = serde_json::from_slice::<dps_types::ErrorDetails>(body)
        .ok()
        .and_then(|details| details.error_code);
    if status == StatusCode::TOO_MANY_REQUESTS {
        return findings.warning(
            "answer",
            "the service is throttling requests (429)",
            "wait, and distribute the devices over time",
        );
    }
    if error.is_some() && status.is_server_error() {
        return findings.warning(
            "answer",
            format!("the service fails (status {})", status.as_u16()),
            "try again later, and look at the status of Azure",
        );
    }
    if error.is_some() {
        return findings.ok(
            "answer",
            format!("DPS answers (status {})", status.as_u16()),
        );
    }
    let kind = if content_type.contains("html") {
        "an HTML page"
    } else {
        "another document"
    };
    let advice = match status.as_u16() {
        300..400 => "a captive portal redirects requests: sign in to this network",
        407 => "a proxy requires credentials: --proxy http://user:password@host:port",
        500.. => "a gateway or the service fails: try again later",
        _ => {
            "a proxy, a firewall or a portal answers instead of the service: ask the administrator of the network to allow the host"
        }
    };
    findings.problem(
        "answer",
        format!(
            "{kind} with status {}: this is not an answer of DPS",
            status.as_u16()
        ),
        advice,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(status: u16, content_type: &str, body: &str) -> String {
        let mut findings = Findings::default();
        from_dps(
            StatusCode::from_u16(status).unwrap(),
            content_type,
            body.as_bytes(),
            &mut findings,
        );
        findings.only()
    }

    #[test]
    fn an_answer_of_another_server_is_named_with_who_must_act() {
        let block_page =
            "<!DOCTYPE html><html><body>The certificate could not be verified.</body></html>";
        let blocked = found(403, "text/html; charset=iso-8859-1", block_page);
        assert!(
            blocked.contains("HTML page with status 403")
                && blocked.contains("administrator of the network"),
            "{blocked}"
        );
        assert!(found(302, "text/html", "").contains("captive portal"));
        assert!(found(407, "text/html", "").contains("--proxy"));
        assert!(found(503, "text/html", "").contains("try again later"));
        assert!(found(200, "application/json", "{}").starts_with("Problem: another document"));
    }

    #[test]
    fn an_answer_of_dps_is_recognized_by_its_error_code() {
        let body = r#"{"errorCode":401002,"trackingId":"x","message":"Unauthorized"}"#;
        assert!(found(401, "application/json", body).starts_with("Ok: DPS answers"));
        assert!(
            found(500, "application/json", r#"{"errorCode":500000}"#)
                .starts_with("Warning: the service fails (status 500)")
        );
        assert!(
            found(429, "application/json", r#"{"errorCode":429001}"#)
                .starts_with("Warning: the service is throttling")
        );
    }
}
