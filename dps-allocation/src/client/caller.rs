//! One call of a webhook: one request, one answer, no retry.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use dps_tls::{causes, is_tls_failure};
use dps_types::AllocationRequest;
use reqwest::header::CONTENT_TYPE;
use rustls::CertificateError;

use crate::answer::{self, unavailable};
use crate::webhook_url::WebhookUrl;
use crate::{Allocation, AllocationPolicy, Rejection};

/// The bytes of a webhook's answer that are shown in the log.
const EXCERPT: usize = 500;

/// A policy that calls a webhook, as DPS does.
///
/// Created by [`WebhookClient::caller`](crate::WebhookClient::caller). It calls once, follows no redirect, and reads at
/// most 96 KiB. It does not retry: a device that fails registers again.
///
/// Every failure is a [`Rejection`] with error code 400207, or 400208 when the answer names no hub. The message contains
/// the cause but not the URL. As the policy of a [`Webhook`](crate::Webhook), it answers with the status of the webhook
/// that it calls.
///
/// | outcome | [`RejectionKind`](crate::RejectionKind) |
/// |---|---|
/// | status 400, 409 or 422 | `Declined` |
/// | no connection, no answer in time, status 408, 429 or 5xx | `Unavailable` |
/// | any other status, or a 200 that is not a valid allocation response | `Protocol` |
///
/// ```no_run
/// # fn example() -> Result<(), dps_allocation::Error> {
/// use dps_allocation::WebhookClient;
/// use dps_allocation::policies::Fallback;
///
/// // The policy of another team, with a second one for the time in which it is not available.
/// let first = WebhookClient::new().caller("https://contoso.azurewebsites.net/api/allocate")?;
/// let second = WebhookClient::new().caller("https://fabrikam.azurewebsites.net/api/allocate")?;
/// let policy = Fallback::new(first).or(second);
/// # drop(policy);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct WebhookCaller {
    url: WebhookUrl,
    http: reqwest::Client,
    timeout: Duration,
}

impl WebhookCaller {
    pub(super) fn new(url: WebhookUrl, http: reqwest::Client, timeout: Duration) -> Self {
        Self { url, http, timeout }
    }

    /// Calls the webhook once and returns the answer with any status.
    pub(super) async fn call(&self, request: &AllocationRequest) -> Result<Answer, Rejection> {
        tracing::debug!(webhook = ?self.url, registration_id = %request.registration_id(), "calling a webhook");
        tokio::time::timeout(self.timeout, self.exchange(request))
            .await
            .unwrap_or_else(|_elapsed| {
                let timeout = self.timeout;
                let reason = format!("the webhook did not answer within {timeout:?}");
                Err(unavailable(reason).with_status(504))
            })
    }

    async fn exchange(&self, request: &AllocationRequest) -> Result<Answer, Rejection> {
        let body = serde_json::to_vec(request)
            .map_err(|error| unavailable("the request cannot be serialized").with_source(error))?;
        let mut response = self
            .http
            .post(self.url.url().clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await
            .map_err(no_answer)?;
        let mut answer = Answer {
            status: response.status().as_u16(),
            content_type: content_type(&response),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await.map_err(incomplete).transpose() {
            match chunk {
                // DPS reports only the status, so the rest of the body does not matter.
                Err(_) if answer.status != 200 => break,
                Err(rejection) => return Err(rejection),
                Ok(chunk) if answer.body.len() + chunk.len() <= answer::MAX_BYTES => {
                    answer.body.extend_from_slice(&chunk);
                }
                Ok(_) if answer.status != 200 => break,
                Ok(_) => return Err(answer::too_large()),
            }
        }
        Ok(answer)
    }
}

#[async_trait]
impl AllocationPolicy for WebhookCaller {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let answer = self.call(request).await?;
        match answer.status {
            200 => answer::read(&answer.body, request),
            status => {
                // DPS reports only the status. The answer usually has the reason.
                let excerpt = answer.body.get(..EXCERPT).unwrap_or(&answer.body);
                let excerpt = String::from_utf8_lossy(excerpt);
                tracing::warn!(webhook = ?self.url, status, answer = ?excerpt, "the webhook refused a request");
                Err(answer::bad_status(status))
            }
        }
    }
}

/// The answer of a webhook.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: Option<String>,
    pub(super) body: Vec<u8>,
}

fn content_type(response: &reqwest::Response) -> Option<String> {
    let value = response.headers().get(CONTENT_TYPE)?;
    value.to_str().ok().map(str::to_owned)
}

fn no_answer(error: reqwest::Error) -> Rejection {
    let rejection = match error.is_connect() {
        true if error.is_timeout() => {
            unavailable("connecting to the webhook timed out").with_status(504)
        }
        true if io_kind(&error) == Some(io::ErrorKind::ConnectionRefused) => {
            unavailable("the webhook refused the connection")
        }
        true if is_tls_failure(&error) => unavailable(tls_failure(&error)),
        true => unavailable("the webhook cannot be connected to"),
        false => unavailable("the webhook closed the connection without an answer"),
    };
    rejection.with_source(error.without_url())
}

fn tls_failure(error: &reqwest::Error) -> String {
    let cause = causes(error).find_map(<dyn std::error::Error>::downcast_ref);
    let hint = match cause {
        // A trusted root with the name of the issuer, but another key, causes a bad signature.
        Some(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        )) => "; trust the root of its certificate with WebhookClient::with_roots",
        _ => "",
    };
    match cause {
        Some(cause) => format!("the TLS connection to the webhook failed: {cause}{hint}"),
        None => "the TLS connection to the webhook failed".to_owned(),
    }
}

fn incomplete(error: reqwest::Error) -> Rejection {
    unavailable("the connection was lost before the end of the webhook's answer")
        .with_source(error.without_url())
}

/// The kind of the innermost I/O error.
fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    causes(error)
        .filter_map(|cause| cause.downcast_ref().map(io::Error::kind))
        .last()
}
