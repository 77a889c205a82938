//! Tests of policies: runs a policy or a webhook with a recorded request.

mod outcome;

use dps_types::{AllocationRequest, json};

pub use self::outcome::Outcome;
use crate::webhook::response;
use crate::{AllocationPolicy, Error, ErrorKind, Webhook};

/// A request to test policies with.
///
/// The request is serialized and the response is parsed, so that the outcome is the same as with DPS.
///
/// ```
/// use dps_allocation::PolicyTest;
/// use dps_allocation::policies::{ByPayload, Fixed};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // The body that DPS posts: from the log of a webhook, or written for the test.
/// let test = PolicyTest::from_json(r#"{
///     "enrollmentGroup": { "enrollmentGroupId": "toasters", "attestation": { "type": "symmetricKey" } },
///     "deviceRuntimeContext": { "registrationId": "toaster-1", "payload": { "model": "X" } },
///     "linkedHubs": ["hub-a.azure-devices.net"]
/// }"#)?;
/// let policy = ByPayload::field("model").when("X", Fixed::to("hub-a.azure-devices.net".parse()?));
/// test.run(policy).await.assert_hub("hub-a.azure-devices.net");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PolicyTest {
    request: AllocationRequest,
}

impl PolicyTest {
    /// Reads a request in JSON, as DPS posts it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`].
    pub fn from_json(text: impl AsRef<[u8]>) -> Result<Self, Error> {
        let request = json::from_slice(text.as_ref()).map_err(|error| {
            let message = "the JSON is not a valid allocation request";
            Error::new(ErrorKind::InvalidRequest, message).with_source(error)
        })?;
        Ok(Self::new(request))
    }

    /// Uses this request.
    pub fn new(request: AllocationRequest) -> Self {
        Self { request }
    }

    /// Returns the request, to change it.
    pub fn request_mut(&mut self) -> &mut AllocationRequest {
        &mut self.request
    }

    /// Runs the policy and returns the outcome for the device. Pass an `Arc` of the policy to keep it.
    ///
    /// Requires a tokio runtime with time enabled.
    pub async fn run(&self, policy: impl AllocationPolicy + 'static) -> Outcome {
        self.run_webhook(&Webhook::new(policy)).await
    }

    /// Runs the webhook and returns the outcome for the device. No function key is required.
    ///
    /// Requires a tokio runtime with time enabled.
    pub async fn run_webhook(&self, webhook: &Webhook) -> Outcome {
        let body = match serde_json::to_vec(&self.request) {
            Ok(body) => body,
            Err(error) => return Outcome::not_serialized(error),
        };
        let response = response(webhook.decide(&body).await);
        Outcome::read(response.status().as_u16(), response.body(), &self.request)
    }
}

impl From<AllocationRequest> for PolicyTest {
    fn from(request: AllocationRequest) -> Self {
        Self::new(request)
    }
}
