//! Trying out a policy: what would become of this device?

mod outcome;

use dps_types::AllocationRequest;

pub use self::outcome::Outcome;
use crate::{AllocationPolicy, Error, ErrorKind, Webhook, WebhookRequest};

/// A request to try policies on.
///
/// It takes the whole way, bytes in and bytes out, so what a trial says is what DPS would make of it.
///
/// ```
/// # use dps_allocation::policies::ByPayload;
/// use dps_allocation::PolicyTest;
/// use dps_allocation::policies::Fixed;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // As DPS posts it: recorded from a webhook's log, or written for the purpose.
/// let trial = PolicyTest::recorded(r#"{
///     "enrollmentGroup": { "enrollmentGroupId": "toasters", "attestation": { "type": "symmetricKey" } },
///     "deviceRuntimeContext": { "registrationId": "toaster-1", "payload": { "model": "X" } },
///     "linkedHubs": ["hub-a.azure-devices.net"]
/// }"#)?;
/// let policy = ByPayload::field("model").when("X", Fixed::to("hub-a.azure-devices.net".parse()?));
/// trial.of(policy).await.assert_hub("hub-a.azure-devices.net");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PolicyTest {
    request: AllocationRequest,
}

impl PolicyTest {
    /// A request as DPS posts it, in JSON.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`].
    pub fn recorded(json: impl AsRef<[u8]>) -> Result<Self, Error> {
        let request = serde_json::from_slice(json.as_ref()).map_err(|error| {
            Error::new(ErrorKind::InvalidRequest, "this is no allocation request")
                .with_source(error)
        })?;
        Ok(Self::new(request))
    }

    /// This request.
    pub fn new(request: AllocationRequest) -> Self {
        Self { request }
    }

    /// The request, to look at or to change.
    pub fn request_mut(&mut self) -> &mut AllocationRequest {
        &mut self.request
    }

    /// What becomes of the device under this policy. To keep the policy, give an `Arc` of it.
    ///
    /// Needs a tokio runtime with time enabled.
    pub async fn of(&self, policy: impl AllocationPolicy + 'static) -> Outcome {
        self.at(&Webhook::new(policy)).await
    }

    /// What becomes of the device when this webhook is asked. A function key is not needed.
    pub async fn at(&self, webhook: &Webhook) -> Outcome {
        let body = match serde_json::to_vec(&self.request) {
            Ok(body) => body,
            Err(error) => return Outcome::unwritten(error),
        };
        let reply = webhook
            .handle_trusted(WebhookRequest {
                method: "POST",
                content_type: Some("application/json"),
                query: None,
                function_key_header: None,
                body: &body,
            })
            .await;
        Outcome::read(reply.status, &reply.body, &self.request)
    }
}

impl From<AllocationRequest> for PolicyTest {
    fn from(request: AllocationRequest) -> Self {
        Self::new(request)
    }
}
