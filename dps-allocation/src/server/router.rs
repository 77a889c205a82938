//! A webhook as an axum router: checks the head, then reads the body within its limits.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::response::Response;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Bytes;

use crate::webhook::{refused, response};
use crate::{Allocation, Rejection, Webhook};

pub(super) fn router(webhook: Arc<Webhook>) -> Router {
    Router::new().fallback(handle).with_state(webhook)
}

async fn handle(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    response(allocate(&webhook, request).await).map(Body::from)
}

async fn allocate(webhook: &Webhook, request: Request) -> Result<Allocation, Rejection> {
    let (head, body) = request.into_parts();
    if let Err(rejection) = webhook.check_head(&head) {
        discard(webhook, body).await;
        return Err(refused(rejection));
    }
    let body = read(webhook, body).await.map_err(refused)?;
    webhook.decide(&body).await
}

async fn read(webhook: &Webhook, body: Body) -> Result<Bytes, Rejection> {
    let limit = webhook.body_limit();
    if body.size_hint().lower() > limit as u64 {
        return Err(webhook.too_large());
    }
    let body = Limited::new(body, limit).collect();
    match tokio::time::timeout(webhook.client_timeout(), body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(webhook.too_large()),
        Ok(Err(error)) => Err(
            Rejection::new("the connection was lost before the end of the body").with_source(error),
        ),
        Err(_elapsed) => Err(Rejection::new("the body did not arrive in time").with_status(408)),
    }
}

/// Reads and drops a body, within the limits: a client that is still sending might not see the answer otherwise.
async fn discard(webhook: &Webhook, body: Body) {
    let mut body = Limited::new(body, webhook.body_limit());
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    tokio::time::timeout(webhook.client_timeout(), rest)
        .await
        .unwrap_or_default();
}
