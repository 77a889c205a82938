//! Hosts a policy: an HTTP request in, an HTTP response out, with a clear answer for every failure.

mod function_key;
mod head;
mod response;

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use dps_types::{AllocationRequest, ErrorCode, json};
use futures_util::FutureExt as _;
use http::{Request, Response};

use self::function_key::FunctionKeys;
#[cfg(feature = "client")]
pub(crate) use self::head::is_json;
pub(crate) use self::response::response;
use crate::{Allocation, AllocationPolicy, Rejection, answer};

/// Hosts a policy as the webhook that DPS calls.
///
/// [`Webhook::handle`] takes and returns the types of the `http` crate, so that it fits any server; the feature `server`
/// adds a server. The answer is always JSON: an allocation with status 200, otherwise an error body with `message` and,
/// where the service has a code for it, `errorCode`.
///
/// | status | when |
/// |---|---|
/// | 400 | the body is not an allocation request, there is more than one function key, or the policy rejects the device and sets no status |
/// | 401 | a function key is required, and is missing or wrong |
/// | 405 | the method is not `POST` |
/// | 413 | the body is larger than the limit |
/// | 415 | the content type is not `application/json` in UTF-8 |
/// | 500 | the policy panicked, named a hub outside `linkedHubs`, or its payload or twin is nested too deep |
/// | 503 | the policy cannot decide: [`Rejection::unavailable`] |
/// | 504 | the policy did not answer in time |
///
/// DPS reports only the status to a device: `Custom allocation failed with status code: 400`. The reason is in the body
/// and, through `tracing`, in the log. A panic is caught unless the program is built with `panic = "abort"`.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use dps_allocation::Webhook;
/// use dps_allocation::policies::Fixed;
///
/// let policy = Fixed::to("toasters.azure-devices.net".parse()?);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// Webhook::new(policy).serve(listener).await?;
/// # Ok(())
/// # }
/// ```
///
/// See the page [Allocation policies](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/allocation-policies.md#host-it) of the book.
pub struct Webhook {
    policy: Box<dyn AllocationPolicy>,
    function_keys: FunctionKeys,
    body_limit: usize,
    timeout: Duration,
    #[cfg(feature = "server")]
    client_timeout: Duration,
}

impl Webhook {
    /// The default limit for a body: 128 KiB. A DPS message has at most 96 KB.
    pub const DEFAULT_BODY_LIMIT: usize = 128 * 1024;
    /// The default timeout of the policy: 25 seconds. DPS is assumed to wait 30 seconds; its documentation states no number.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(25);
    /// The default timeout of a client: 10 seconds.
    #[cfg(feature = "server")]
    pub const DEFAULT_CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

    /// Hosts the policy. Without [`Webhook::with_function_key`] every caller is answered.
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

    /// Requires a function key: this one, or another that was added. Two keys allow a change from one to the other.
    ///
    /// As with an Azure Function, the caller sends it in the query of the webhook's URL as `code`, or in the header
    /// `x-functions-key`. White space around the key is ignored, such as the line end of a file. Only a hash is kept. An
    /// empty key matches nothing, so that a setting that is empty by mistake does not allow every caller.
    #[must_use]
    pub fn with_function_key(mut self, key: impl AsRef<str>) -> Self {
        self.function_keys.add(key.as_ref());
        self
    }

    /// Sets the limit for a body, in bytes.
    #[must_use]
    pub fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets the timeout of the policy. When it has passed, the policy's future is dropped.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Answers one request. Requires a tokio runtime with time enabled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use dps_allocation::{Webhook, policies::EvenlyWeighted};
    ///
    /// let webhook = Webhook::new(EvenlyWeighted::new());
    /// let request = http::Request::post("/api/allocate")
    ///     .header("content-type", "application/json")
    ///     .body(r#"{
    ///         "enrollmentGroup": { "enrollmentGroupId": "toasters", "attestation": { "type": "symmetricKey" } },
    ///         "deviceRuntimeContext": { "registrationId": "toaster-1" },
    ///         "linkedHubs": ["hub-a.azure-devices.net"]
    ///     }"#)?;
    /// let response = webhook.handle(request).await;
    /// assert_eq!(response.status(), 200);
    /// assert_eq!(response.body(), br#"{"iotHubHostName":"hub-a.azure-devices.net"}"#);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn handle(&self, request: Request<impl AsRef<[u8]>>) -> Response<Vec<u8>> {
        let (head, body) = request.into_parts();
        let result = match self.check_head(&head) {
            Ok(()) => self.decide(body.as_ref()).await,
            Err(rejection) => Err(refused(rejection)),
        };
        response(result)
    }

    /// Answers a request whose head was checked: reads the body and asks the policy.
    pub(crate) async fn decide(&self, body: &[u8]) -> Result<Allocation, Rejection> {
        let request = self.read(body).map_err(refused)?;
        let result = self.ask(&request).await;
        log_outcome(&request, &result);
        result
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
        json::from_slice(body).map_err(|error| {
            Rejection::new(format!("the body is not an allocation request: {error}"))
                .with_error_code(ErrorCode::FORMAT_ERROR)
        })
    }

    async fn ask(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        // The inner block makes sure that a panic before the first await is caught as well.
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
                let message = format!("the allocation policy did not answer within {timeout:?}");
                return Err(Rejection::unavailable(message).with_status(504));
            }
        };
        answer::check_depth(&allocation)
            .map_err(|what| internal(format!("the allocation policy's {what}")))?;
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
    /// Sets how long a client may take to send the head of a request, to send its body, and to read a part of the
    /// answer. When that time has passed, the connection is closed.
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

/// Logs a request that never reached the policy.
pub(crate) fn refused(rejection: Rejection) -> Rejection {
    tracing::warn!(status = rejection.status(), reason = %rejection, "refused a request");
    rejection
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
            kind = ?rejection.kind(),
            reason = format!("{rejection:#}"),
            "rejected a device"
        ),
    }
}
