//! Serves a webhook over HTTP. TLS is not included: it ends at the server in front of this one.

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
    /// Serves HTTP on the listener until the future is dropped, on every path.
    ///
    /// DPS calls only `https` URLs, and this server has no TLS: put a server that ends TLS in front of it, as App Service,
    /// Container Apps and every Kubernetes ingress do.
    ///
    /// The limits are:
    ///
    /// * 1024 connections are served at the same time; more wait.
    /// * The head of a request has at most 64 KiB and 100 headers, and its body at most [`Webhook::with_body_limit`].
    /// * A client that is too slow is disconnected: with the head or the body of a request, or with reading the answer
    ///   ([`Webhook::with_client_timeout`]).
    /// * A connection lasts five minutes at most.
    ///
    /// Dropping the future closes all connections.
    ///
    /// # Errors
    ///
    /// When the listener returns only errors for a minute.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        self.serve_until(listener, future::pending()).await
    }

    /// As [`Webhook::serve`], until `shutdown` is ready. Requests in flight are finished, within the timeouts of the
    /// policy and the client.
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

    /// Returns an axum router that answers on every path. Nest it at the path of the webhook with `nest_service`, so that
    /// the path may end with a slash: `nest` does not match a path that ends with one.
    ///
    /// The router limits the size of a body and the time that it may take. The other limits of [`Webhook::serve`] belong
    /// to the server that runs the router.
    ///
    /// ```
    /// # use dps_allocation::{Webhook, policies::EvenlyWeighted};
    /// let app: axum::Router = axum::Router::new()
    ///     .nest_service("/api/allocate", Webhook::new(EvenlyWeighted::new()).router());
    /// ```
    pub fn router(self) -> Router {
        router::router(Arc::new(self))
    }
}
