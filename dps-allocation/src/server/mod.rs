//! A webhook on a socket: connections taken, watched and let go. Plain HTTP: TLS ends in front of it.

mod azure_functions;
mod connections;
mod router;

use std::future;
use std::io;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;

use self::connections::Server;
use crate::Webhook;

impl Webhook {
    /// Serves HTTP on the listener until the future is dropped. Any path is answered.
    ///
    /// The HTTP is plain, and DPS calls nothing but `https`: put it behind what ends TLS, as App Service, Container Apps
    /// and every ingress do.
    ///
    /// A client that sends its request too slowly is cut off after [`Webhook::with_client_timeout`]. At most 1024
    /// connections are served at once; more wait. Dropping the future drops them all.
    ///
    /// # Errors
    ///
    /// When the listener gives nothing but errors for a minute.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        self.serve_until(listener, future::pending()).await
    }

    /// [`Webhook::serve`], until `shutdown` is ready. Requests in flight are finished, within the time that the policy
    /// and the client have anyway.
    ///
    /// # Errors
    ///
    /// As [`Webhook::serve`].
    pub async fn serve_until(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        Server::new(self).run(listener, shutdown).await
    }

    /// An axum router that answers at any path. Nest it where the webhook is to be.
    ///
    /// It limits the time a body takes; to cut off a client that is slow with the head is for the server around it.
    ///
    /// ```
    /// # use dps_allocation::{Webhook, policies::EvenlyWeighted};
    /// let app: axum::Router = axum::Router::new()
    ///     .nest("/api/allocate", Webhook::new(EvenlyWeighted::new()).router());
    /// ```
    pub fn router(self) -> Router {
        router::router(Arc::new(self))
    }
}
