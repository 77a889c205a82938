//! A webhook that returns the device's payload.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use dps_allocation::{Allocation, Webhook, from_fn};
use dps_types::{DeviceRuntimeContext, HubHostname};

/// Chooses one hub for every device and returns the payload. Listens on loopback, without TLS.
#[derive(Debug)]
pub(crate) struct EchoWebhook {
    listener: TcpListener,
    hub: HubHostname,
    requests: Arc<Mutex<Vec<DeviceRuntimeContext>>>,
}

impl EchoWebhook {
    /// Binds a port. The webhook answers while [`EchoWebhook::serve_during`] runs.
    ///
    /// # Panics
    /// When no port is free.
    pub(crate) fn bind(hub: HubHostname) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket for tokio");
        Self {
            listener,
            hub,
            requests: Arc::default(),
        }
    }

    /// The URL of the webhook.
    ///
    /// # Panics
    /// When the address of the listener cannot be read.
    pub(crate) fn url(&self) -> String {
        let address = self.listener.local_addr().expect("the port taken");
        format!("http://{address}/allocate")
    }

    /// Serves requests until the future ends.
    ///
    /// # Panics
    /// When the server fails.
    pub(crate) async fn serve_during<T>(&self, work: impl Future<Output = T>) -> T {
        let listener = self.listener.try_clone().expect("the port taken");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a tokio runtime");
        let (hub, requests) = (self.hub.clone(), Arc::clone(&self.requests));
        let webhook = Webhook::new(from_fn(move |request| {
            let device = request.device_runtime_context.clone();
            let payload = device.payload.clone().unwrap_or_default();
            requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(device);
            Ok(Allocation::to(hub.clone()).payload(payload))
        }));
        tokio::select! {
            done = work => done,
            ended = webhook.serve(listener) => panic!("the webhook ended: {ended:?}"),
        }
    }

    /// The devices in the requests received.
    pub(crate) fn requests(&self) -> Vec<DeviceRuntimeContext> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
