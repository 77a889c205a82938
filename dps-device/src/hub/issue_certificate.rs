//! The request for a new certificate at the hub: 202 first, and then the certificates or a refusal.

use std::time::Duration;

use dps_types::DeviceId;
use dps_types::hub_certificate::IssueCertificateRequest;
use dps_types::protocol::hub_certificate::RequestTopic;

use super::request::{Answer, Request};
use crate::certificate::RenewalAnswer;
use crate::error::Error;

/// The time limit for each of the hub's two answers. Source: Microsoft's unified device SDK for C.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) struct IssueCertificate(IssueCertificateRequest);

impl IssueCertificate {
    /// `replace` is the id of the request in progress to cancel, or `*` for any.
    pub(super) fn new(device: DeviceId, csr: String, replace: Option<String>) -> Self {
        let mut request = IssueCertificateRequest::new(device, csr);
        request.replace = replace;
        Self(request)
    }
}

impl Request for IssueCertificate {
    type Response = Vec<String>;

    fn topic(&self, rid: &str) -> String {
        RequestTopic::new(rid).to_string()
    }

    fn body(&self) -> Vec<u8> {
        // The fields are strings, so the encoding cannot fail.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    fn response(&mut self, answer: &Answer) -> Result<Option<Vec<String>>, Error> {
        let reply = &answer.reply;
        match RenewalAnswer::read(reply.status, &reply.body, reply.retry_after)? {
            RenewalAnswer::Accepted(_) => Ok(None),
            RenewalAnswer::Issued(certificates) => Ok(Some(certificates)),
        }
    }

    fn limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_that_of_the_specification() {
        let device: DeviceId = "Toaster#0815".parse().unwrap();
        let request = IssueCertificate::new(device.clone(), "MIIB".to_owned(), None);
        assert_eq!(
            request.topic("a1b2-c3"),
            "$iothub/credentials/POST/issueCertificate/?$rid=a1b2-c3"
        );
        assert_eq!(request.body(), br#"{"id":"Toaster#0815","csr":"MIIB"}"#);
        let request = IssueCertificate::new(device, "MIIB".to_owned(), Some("*".to_owned()));
        assert_eq!(
            request.body(),
            br#"{"id":"Toaster#0815","csr":"MIIB","replace":"*"}"#
        );
    }
}
