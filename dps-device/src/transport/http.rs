//! HTTPS: one connection a session, one request at a time.

use std::error::Error as StdError;
use std::time::Duration;

use async_trait::async_trait;
use dps_tls::proxy_refused;
use dps_types::enrollment::TpmAttestation;
use dps_types::protocol::device::{DeviceAction, DeviceRoute};
use dps_types::protocol::{ApiVersion, parse_retry_after};
use dps_types::sas::Sign;
use dps_types::{OperationId, RegistrationRequest};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Client, Method, Response, Url, redirect, retry};
use tracing::debug;

use super::token::Token;
use super::wire::bracketed;
use super::{Proxy, Reply, Session, Target, Transport, TransportError, tls_failure};
use crate::attestation::{Proof, TpmKeys};
use crate::error::ErrorKind;
use crate::wrapped_key::Challenge;

const USER_AGENT: &str = concat!("dps-device/", env!("CARGO_PKG_VERSION"));
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The most that we read of an answer. DPS allows 96 KiB of payload. Source: azure-docs `includes/iot-dps-limits.md`.
const MAX_BODY: usize = 256 * 1024;

/// HTTPS, for every kind of proof: symmetric keys, certificates and TPMs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Http {
    port: Option<u16>,
}

impl Http {
    /// Another port than 443.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }
}

#[async_trait]
impl Transport for Http {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        let (identity, tpm, signer) = match proof {
            Proof::Certificate(identity) => (Some(identity), None, None),
            Proof::SharedKey(signer) => (None, None, Some(signer)),
            // A new session for an operation goes on with the key of the last challenge.
            Proof::Tpm(tpm) => (None, Some(tpm), Some(tpm as &dyn Sign)),
        };
        Ok(Box::new(HttpSession {
            base: base(target.host(), self.port)?,
            client: client(target.endpoint().client_config(identity)?, target.proxy())?,
            target,
            tpm,
            token: signer.map(|signer| Token::new(signer, target)),
        }))
    }
}

/// The pool of the client holds the one connection, and closes it when it is dropped.
struct HttpSession<'a> {
    base: Url,
    client: Client,
    target: &'a Target,
    tpm: Option<&'a dyn TpmKeys>,
    token: Option<Token<'a>>,
}

#[async_trait]
impl Session for HttpSession<'_> {
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        self.prove(DeviceAction::Register, body).await
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        let action = DeviceAction::OperationStatus(operation.clone());
        self.exchange(action, None).await
    }

    async fn lookup(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        self.prove(DeviceAction::Lookup, body).await
    }
}

impl HttpSession<'_> {
    /// A TPM begins without a token, and opens the challenge that it gets. There is no second one: then it is refused.
    async fn prove(
        &mut self,
        action: DeviceAction,
        body: &RegistrationRequest,
    ) -> Result<Reply, TransportError> {
        let Some(tpm) = self.tpm else {
            return self.exchange(action, Some(body)).await;
        };
        let body = with_keys(body, tpm);
        self.token = None;
        let reply = self.exchange(action.clone(), Some(&body)).await?;
        let Some(challenge) = Challenge::parse(&reply)? else {
            return Ok(reply);
        };
        debug!("challenged");
        // The rest of the time is for the requests: so that a TPM that hangs is not taken for a network that does.
        let key_name = challenge
            .open(tpm, self.target.request_timeout() / 2)
            .await?;
        self.token = Some(Token::new(tpm, self.target).named(key_name));
        self.exchange(action, Some(&body)).await
    }

    async fn exchange(
        &mut self,
        action: DeviceAction,
        body: Option<&RegistrationRequest>,
    ) -> Result<Reply, TransportError> {
        let target = self.target;
        let route = DeviceRoute::new(
            target.id_scope().clone(),
            target.registration_id().clone(),
            action,
        );
        let mut url = self.base.clone();
        url.set_path(&route.path());
        url.set_query(Some(&format!(
            "{}={}",
            ApiVersion::PARAMETER,
            target.api_version()
        )));
        let method = Method::from_bytes(route.method().as_bytes()).map_err(impossible)?;
        let mut request = self
            .client
            .request(method, url)
            .header(ACCEPT, "application/json");
        if let Some(token) = &mut self.token {
            let mut value = HeaderValue::from_str(&token.text().await?).map_err(impossible)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(body) = body {
            let json = serde_json::to_vec(body).map_err(impossible)?;
            request = request.header(CONTENT_TYPE, JSON).body(json);
        }
        let response = request.send().await.map_err(failure)?;
        let status = response.status().as_u16();
        let retry_after = self.retry_after(response.headers());
        let mut reply = Reply::new(status, read(response).await?);
        reply.retry_after = retry_after;
        Ok(reply)
    }

    /// A date is measured against the service's own clock, since ours may be wrong.
    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok();
        let now = text(DATE)
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .unwrap_or_else(|| self.target.clock().now());
        parse_retry_after(text(RETRY_AFTER)?, now)
    }
}

fn with_keys(body: &RegistrationRequest, tpm: &dyn TpmKeys) -> RegistrationRequest {
    let mut keys = TpmAttestation::new(tpm.endorsement_key().to_base64());
    keys.storage_root_key = Some(tpm.storage_root_key().to_base64());
    let mut body = body.clone();
    body.tpm = Some(keys);
    body
}

fn client(tls: rustls::ClientConfig, proxy: Option<&Proxy>) -> Result<Client, TransportError> {
    let unusable = |error| {
        TransportError::new(
            ErrorKind::InvalidConfiguration,
            "the HTTPS client cannot be set up",
        )
        .with_source(error)
    };
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        .https_only(true)
        .http1_only()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .no_proxy()
        .pool_max_idle_per_host(1);
    let builder = match proxy {
        Some(proxy) => builder.proxy(tunnel(proxy).map_err(unusable)?),
        None => builder,
    };
    builder.build().map_err(unusable)
}

fn tunnel(proxy: &Proxy) -> reqwest::Result<reqwest::Proxy> {
    let url = format!("http://{}:{}", bracketed(proxy.host()), proxy.port());
    let tunnel = reqwest::Proxy::https(url)?;
    Ok(match proxy.credentials() {
        Some((user, password)) => tunnel.basic_auth(user, password),
        None => tunnel,
    })
}

/// `https://host:port/`, and nothing else may hide in the host.
fn base(host: &str, port: Option<u16>) -> Result<Url, TransportError> {
    let invalid = || {
        TransportError::new(
            ErrorKind::InvalidConfiguration,
            format!("{host:?} is not a host name"),
        )
    };
    let host_only = bracketed(host);
    let mut url = Url::parse(&format!("https://{host_only}/")).map_err(|_| invalid())?;
    let same = url
        .host_str()
        .is_some_and(|parsed| parsed.eq_ignore_ascii_case(&host_only));
    if !same {
        return Err(invalid());
    }
    url.set_port(port).map_err(|()| invalid())?;
    Ok(url)
}

/// The body. Of a failure, whose status says enough, a body that is too large is left out.
async fn read(mut response: Response) -> Result<Vec<u8>, TransportError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > MAX_BODY {
            return match response.status().is_success() {
                true => Err(TransportError::new(
                    ErrorKind::Protocol,
                    format!("the answer is larger than {MAX_BODY} bytes"),
                )),
                false => Ok(Vec::new()),
            };
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What rustls complains about will not get better by itself; what the network does may.
fn failure(error: reqwest::Error) -> TransportError {
    let (kind, what) = if let Some(of_tls) = tls_failure::kind_of(&error) {
        of_tls
    } else if proxy_refused(&error) {
        (
            ErrorKind::InvalidConfiguration,
            "the proxy wants credentials, or other ones (status 407)",
        )
    } else if error.is_connect() {
        (ErrorKind::Connect, "there is no connection")
    } else {
        (ErrorKind::Connect, "the connection was lost")
    };
    TransportError::new(kind, what).with_source(error.without_url())
}

fn impossible(error: impl StdError + Send + Sync + 'static) -> TransportError {
    TransportError::new(
        ErrorKind::InvalidConfiguration,
        "the request cannot be written",
    )
    .with_source(error)
}
