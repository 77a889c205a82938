//! One call of a webhook: one request, one answer, no second try.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use dps_types::AllocationRequest;
use reqwest::header::CONTENT_TYPE;

use super::address::Address;
use crate::answer::{self, failed};
use crate::{Allocation, AllocationPolicy, Rejection};

/// Asks a webhook, as DPS does: a policy that lives elsewhere.
///
/// Made by [`WebhookClient::caller`](crate::WebhookClient::caller). It asks once, follows no redirect, and reads at most
/// 96 KiB. A device registers again anyway, so a second try is the device's.
///
/// Every failure is a [`Rejection`] with error code 400207, or 400208 when the answer names no hub. Its message never
/// holds the URL. In a webhook of one's own, it answers the status that the other one gave.
#[derive(Debug, Clone)]
pub struct WebhookCaller {
    address: Address,
    http: reqwest::Client,
    timeout: Duration,
}

impl WebhookCaller {
    pub(super) fn new(address: Address, http: reqwest::Client, timeout: Duration) -> Self {
        Self {
            address,
            http,
            timeout,
        }
    }

    /// One call, whatever is answered.
    pub(super) async fn call(&self, request: &AllocationRequest) -> Result<Answer, Rejection> {
        tracing::debug!(webhook = ?self.address, registration_id = %request.registration_id(), "calling");
        tokio::time::timeout(self.timeout, self.exchange(request))
            .await
            .unwrap_or_else(|_elapsed| Err(self.too_slow()))
    }

    async fn exchange(&self, request: &AllocationRequest) -> Result<Answer, Rejection> {
        let body = serde_json::to_vec(request)
            .map_err(|error| failed("the request cannot be written").with_source(error))?;
        let mut response = self
            .http
            .post(self.address.url().clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await
            .map_err(not_reached)?;
        let mut answer = Answer {
            status: response.status().as_u16(),
            content_type: content_type(&response),
            body: Vec::new(),
        };
        while let Some(chunk) = response.chunk().await.map_err(broken_off).transpose() {
            match chunk {
                // A status that is not 200 says it all.
                Err(_) if answer.status != 200 => break,
                Err(rejection) => return Err(rejection),
                Ok(chunk) if answer.body.len() + chunk.len() <= answer::LIMIT => {
                    answer.body.extend_from_slice(&chunk);
                }
                Ok(_) if answer.status != 200 => break,
                Ok(_) => return Err(answer::too_large()),
            }
        }
        Ok(answer)
    }

    fn too_slow(&self) -> Rejection {
        failed(format!(
            "the webhook did not answer within {:?}",
            self.timeout
        ))
        .with_status(504)
    }
}

#[async_trait]
impl AllocationPolicy for WebhookCaller {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let answer = self.call(request).await?;
        match answer.status {
            200 => answer::read(&answer.body, request),
            status => Err(answer::bad_status(status)),
        }
    }
}

/// What a webhook answered.
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

fn not_reached(error: reqwest::Error) -> Rejection {
    let refused = io_kind(&error) == Some(io::ErrorKind::ConnectionRefused);
    let rejection = match error.is_connect() {
        true if error.is_timeout() => {
            failed("the webhook could not be connected to in time").with_status(504)
        }
        true if refused => failed("the webhook refused the connection"),
        true => failed("the webhook could not be connected to"),
        false => failed("the webhook closed the connection without an answer"),
    };
    rejection.with_source(error.without_url())
}

fn broken_off(error: reqwest::Error) -> Rejection {
    failed("the webhook's answer broke off").with_source(error.without_url())
}

/// The kind of the I/O error at the bottom of it.
fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut next = error.source();
    let mut kind = None;
    while let Some(error) = next {
        kind = error.downcast_ref().map(io::Error::kind).or(kind);
        next = error.source();
    }
    kind
}
