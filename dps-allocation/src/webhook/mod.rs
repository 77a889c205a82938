//! The host of a policy: bytes in, bytes out, and every failure a clear answer.

mod function_key;
mod message;

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use dps_types::{AllocationRequest, ErrorCode};
use futures_util::FutureExt as _;

use self::function_key::FunctionKeys;
pub use self::message::{WebhookReply, WebhookRequest};
use crate::{Allocation, AllocationPolicy, Rejection};

/// Hosts a policy as the webhook that DPS calls.
///
/// [`Webhook::handle`] takes the parts of an HTTP request and gives those of the answer, for any server; with the
/// feature `server` there is one ready to use. The answer is always JSON: an allocation with 200, otherwise an error
/// body with `message` and, where the service has a code for it, `errorCode`.
///
/// | status | when |
/// |---|---|
/// | 400 | the body is not an allocation request, or the policy rejects the device without a status of its own |
/// | 401 | a function key is wanted, and missing or wrong |
/// | 405 | the method is not `POST` |
/// | 413 | the body is larger than the limit |
/// | 415 | the content is not `application/json` |
/// | 500 | the policy panicked, or named a hub outside `linkedHubs` |
/// | 504 | the policy took too long |
///
/// DPS shows a device only the status: `Custom allocation failed with status code: 400`. The reason is in the body and,
/// through `tracing`, in the log. A panic is caught unless the program is built with `panic = "abort"`.
pub struct Webhook {
    policy: Box<dyn AllocationPolicy>,
    function_keys: FunctionKeys,
    body_limit: usize,
    timeout: Duration,
    #[cfg(feature = "server")]
    client_timeout: Duration,
}

impl Webhook {
    /// The largest body taken, if not told otherwise: 128 KiB. A DPS message has at most 96 KB.
    pub const DEFAULT_BODY_LIMIT: usize = 128 * 1024;
    /// How long a policy may take, if not told otherwise: 25 seconds. That is less than DPS is taken to wait, 30 seconds.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(25);
    /// How long a client may take, if not told otherwise: 10 seconds.
    #[cfg(feature = "server")]
    pub const DEFAULT_CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

    /// Hosts the policy. Without [`Webhook::with_function_key`] everyone who reaches it is answered.
    pub fn new(policy: impl AllocationPolicy + 'static) -> Self {
        Self {
            policy: Box::new(policy),
            function_keys: FunctionKeys::default(),
            body_limit: Self::DEFAULT_BODY_LIMIT,
            timeout: Self::DEFAULT_TIMEOUT,
            #[cfg(feature = "server")]
            client_timeout: Self::DEFAULT_CLIENT_TIMEOUT,
        }
    }

    /// Answers only those who know this key, or another one given so: two allow to change from one to the other.
    ///
    /// As with an Azure Function, it comes in the query of the webhook's URL as `code`, or in the header
    /// `x-functions-key`. Only a hash is kept. An empty key matches nothing, so that a forgotten one does not open the door.
    #[must_use]
    pub fn with_function_key(mut self, key: impl AsRef<str>) -> Self {
        self.function_keys.add(key.as_ref());
        self
    }

    /// The largest body to take, in bytes.
    #[must_use]
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// How long the policy may take. Then it is dropped where it waits.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Answers one request. Needs a tokio runtime with time enabled.
    pub async fn handle(&self, request: WebhookRequest<'_>) -> WebhookReply {
        self.answer(&request).await.into()
    }

    async fn answer(&self, request: &WebhookRequest<'_>) -> Result<Allocation, Rejection> {
        self.admit(request).inspect_err(log_refusal)?;
        self.answer_trusted(request).await
    }

    /// [`handle`](Self::handle) for one who is known.
    pub(crate) async fn handle_trusted(&self, request: WebhookRequest<'_>) -> WebhookReply {
        self.answer_trusted(&request).await.into()
    }

    async fn answer_trusted(&self, request: &WebhookRequest<'_>) -> Result<Allocation, Rejection> {
        let request = self.read(request.body).inspect_err(log_refusal)?;
        let result = self.decide(&request).await;
        log_outcome(&request, &result);
        result
    }

    /// What the head of a request decides, before its body is read.
    pub(crate) fn admit(&self, request: &WebhookRequest<'_>) -> Result<(), Rejection> {
        if request.method != "POST" {
            return Err(Rejection::new("only POST is answered here")
                .with_status(405)
                .with_error_code(ErrorCode::METHOD_NOT_ALLOWED));
        }
        if !self
            .function_keys
            .admit(request.query, request.function_key_header)
        {
            return Err(Rejection::new("the function key is missing or wrong")
                .with_status(401)
                .with_error_code(ErrorCode::UNAUTHORIZED));
        }
        if !request.content_type.is_some_and(is_json) {
            return Err(Rejection::new("the Content-Type must be application/json")
                .with_status(415)
                .with_error_code(ErrorCode::UNSUPPORTED_MEDIA_TYPE));
        }
        Ok(())
    }

    pub(crate) fn too_large(&self) -> Rejection {
        let limit = self.body_limit;
        Rejection::new(format!("the body is larger than {limit} bytes"))
            .with_status(413)
            .with_error_code(ErrorCode::MESSAGE_TOO_LARGE)
    }

    fn read(&self, body: &[u8]) -> Result<AllocationRequest, Rejection> {
        if body.len() > self.body_limit {
            return Err(self.too_large());
        }
        serde_json::from_slice(body).map_err(|error| {
            Rejection::new(format!("the body is not an allocation request: {error}"))
                .with_error_code(ErrorCode::FORMAT_ERROR)
        })
    }

    async fn decide(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        // In a block of its own, so that a panic before the first await is caught too.
        let decision = AssertUnwindSafe(async { self.policy.allocate(request).await });
        let allocation = match tokio::time::timeout(self.timeout, decision.catch_unwind()).await {
            Ok(Ok(result)) => result?,
            Ok(Err(panic)) => {
                tracing::error!(
                    panic = panic_text(&*panic),
                    "the allocation policy panicked"
                );
                return Err(internal("the allocation policy failed"));
            }
            Err(_elapsed) => {
                let timeout = self.timeout;
                return Err(Rejection::new(format!(
                    "the allocation policy did not answer within {timeout:?}"
                ))
                .with_status(504));
            }
        };
        match request.links(allocation.hub()) {
            true => Ok(allocation),
            false => Err(internal(format!(
                "the allocation policy chose {}, which is not one of the linked hubs",
                allocation.hub()
            ))),
        }
    }
}

#[cfg(feature = "server")]
impl Webhook {
    /// How long a client may take to send the head of a request, and again for its body. Then it is cut off.
    #[must_use]
    pub fn with_client_timeout(mut self, timeout: Duration) -> Self {
        self.client_timeout = timeout;
        self
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.body_limit
    }

    pub(crate) fn client_timeout(&self) -> Duration {
        self.client_timeout
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("function_keys", &self.function_keys)
            .field("body_limit", &self.body_limit)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn internal(message: impl Into<String>) -> Rejection {
    Rejection::new(message)
        .with_status(500)
        .with_error_code(ErrorCode::SERVER_ERROR)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

fn log_refusal(rejection: &Rejection) {
    tracing::warn!(status = rejection.status(), reason = %rejection, "refused a request");
}

fn log_outcome(request: &AllocationRequest, result: &Result<Allocation, Rejection>) {
    let registration_id = request.registration_id();
    match result {
        Ok(allocation) => {
            tracing::info!(%registration_id, hub = %allocation.hub(), "allocated a device");
        }
        Err(rejection) => tracing::warn!(
            %registration_id,
            status = rejection.status(),
            reason = %rejection,
            source = rejection.source(),
            "rejected a device"
        ),
    }
}
