//! A webhook of the operator's: it tells the device what the device has told it.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use dps_allocation::{Allocation, Webhook, from_fn};
use dps_types::{DeviceRuntimeContext, HubHostname};

/// Picks one hub for every device, and echoes the payload. On loopback, over HTTP.
#[derive(Debug)]
pub struct EchoWebhook {
    listener: TcpListener,
    hub: HubHostname,
    heard: Arc<Mutex<Vec<DeviceRuntimeContext>>>,
}

impl EchoWebhook {
    /// Takes a port. It answers while [`EchoWebhook::serve_during`] runs.
    ///
    /// # Panics
    /// When there is no port to be had.
    pub fn bind(hub: HubHostname) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket for tokio");
        Self {
            listener,
            hub,
            heard: Arc::default(),
        }
    }

    /// Where it is.
    ///
    /// # Panics
    /// When the port is lost.
    pub fn url(&self) -> String {
        let address = self.listener.local_addr().expect("the port taken");
        format!("http://{address}/allocate")
    }

    /// Answers until the work is done.
    ///
    /// # Panics
    /// When it cannot answer.
    pub async fn serve_during<T>(&self, work: impl Future<Output = T>) -> T {
        let listener = self.listener.try_clone().expect("the port taken");
        let listener = tokio::net::TcpListener::from_std(listener).expect("a tokio runtime");
        let (hub, heard) = (self.hub.clone(), Arc::clone(&self.heard));
        let webhook = Webhook::new(from_fn(move |request| {
            let device = request.device_runtime_context.clone();
            let payload = device.payload.clone().unwrap_or_default();
            heard
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(device);
            Ok(Allocation::to(&hub).payload(payload))
        }));
        tokio::select! {
            done = work => done,
            ended = webhook.serve(listener) => panic!("the webhook ended: {ended:?}"),
        }
    }

    /// The devices it was asked about.
    pub fn heard(&self) -> Vec<DeviceRuntimeContext> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
