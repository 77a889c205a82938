//! A custom allocation webhook that echoes the payload of the device, and can be held back.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use dps_allocation::{Allocation, AllocationPolicy, Rejection, Webhook};
use dps_types::AllocationRequest;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// It ends when it is dropped.
pub(crate) struct TestWebhook {
    pub(crate) url: String,
    policy: Arc<Policy>,
    _server: JoinSet<()>,
}

impl TestWebhook {
    /// Assigns the first hub.
    pub(crate) async fn assigning() -> Self {
        Self::start(true, false).await
    }

    /// Rejects every device.
    pub(crate) async fn refusing() -> Self {
        Self::start(true, true).await
    }

    /// Assigns the first hub after [`TestWebhook::release`].
    pub(crate) async fn waiting() -> Self {
        Self::start(false, false).await
    }

    pub(crate) fn release(&self) {
        self.policy.ready.send_replace(true);
    }

    /// The payloads of the devices, one for each call.
    pub(crate) fn payloads(&self) -> Vec<Option<Value>> {
        let payloads = self.policy.payloads.lock();
        payloads.unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn start(ready: bool, refuses: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("the port");
        let policy = Arc::new(Policy {
            payloads: Mutex::default(),
            ready: watch::Sender::new(ready),
            refuses,
        });
        let webhook = Webhook::new(Arc::clone(&policy));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let ended = webhook.serve(listener).await;
            panic!("the webhook ended: {ended:?}");
        });
        Self {
            url: format!("http://{address}/allocate"),
            policy,
            _server: server,
        }
    }
}

struct Policy {
    payloads: Mutex<Vec<Option<Value>>>,
    ready: watch::Sender<bool>,
    refuses: bool,
}

#[async_trait]
impl AllocationPolicy for Policy {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let said = request.device_runtime_context.payload.clone();
        self.payloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(said.clone());
        let mut ready = self.ready.subscribe();
        let _ = ready.wait_for(|ready| *ready).await;
        if self.refuses {
            return Err(Rejection::new("no hub for toasters"));
        }
        let allocation = Allocation::to(request.linked_hubs[0].clone());
        Ok(match said {
            Some(said) => allocation.payload(said),
            None => allocation,
        })
    }
}
