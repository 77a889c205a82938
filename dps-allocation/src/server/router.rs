//! A webhook as an axum router: the head first, then the body, within limits.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use hyper::http::HeaderValue;

use crate::{Rejection, Webhook, WebhookReply, WebhookRequest};

pub(super) fn router(webhook: Arc<Webhook>) -> Router {
    Router::new().fallback(handle).with_state(webhook)
}

async fn handle(State(webhook): State<Arc<Webhook>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut request = WebhookRequest {
        method: head.method.as_str(),
        content_type: text(&head.headers, &CONTENT_TYPE),
        query: head.uri.query(),
        function_key_header: text(&head.headers, &FUNCTION_KEY),
        body: &[],
    };
    let body = match webhook.admit(&request) {
        Ok(()) => read(&webhook, body).await,
        Err(refused) => {
            discard(&webhook, body).await;
            Err(refused)
        }
    };
    let reply = match body {
        Ok(body) => {
            request.body = &body;
            webhook.handle(request).await
        }
        Err(refused) => {
            tracing::warn!(status = refused.status(), reason = %refused, "refused a request");
            WebhookReply::rejected(&refused)
        }
    };
    response(reply)
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
        Ok(Err(error)) => Err(Rejection::new("the body broke off").with_source(error)),
        Err(_elapsed) => Err(Rejection::new("the body took too long to arrive").with_status(408)),
    }
}

/// Reads a body that nobody wants, within the limits: a client that is still sending might miss the answer.
async fn discard(webhook: &Webhook, body: Body) {
    let mut body = Limited::new(body, webhook.body_limit());
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    tokio::time::timeout(webhook.client_timeout(), rest)
        .await
        .unwrap_or_default();
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn response(reply: WebhookReply) -> Response {
    let headers: HeaderMap = reply
        .headers()
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect();
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, headers, reply.body).into_response()
}

const FUNCTION_KEY: HeaderName = HeaderName::from_static("x-functions-key");
