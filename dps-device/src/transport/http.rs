//! HTTPS: one connection for each session, one request at a time.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use dps_tls::proxy_refused;
use dps_types::protocol::device::{DeviceAction, DeviceRoute};
use dps_types::protocol::{ApiVersion, parse_retry_after};
use dps_types::sas::Sign;
use dps_types::{OperationId, RegistrationRequest};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Client, Method, Response, Url, redirect, retry};
use tracing::debug;

use super::agent::AGENT;
use super::challenge::{Challenge, with_keys};
use super::error::TransportError;
use super::page;
use super::reply::Reply;
use super::session::{Session, Transport};
use super::target::Target;
use super::tls_failure;
use super::token::Token;
use crate::attestation::proof::Proof;
use crate::attestation::tpm_keys::TpmKeys;
use crate::error::ErrorKind;
use crate::host::Host;
use dps_tls::Proxy;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The limit for the body of an answer. DPS allows a payload of 96 KiB. Source: azure-docs `includes/iot-dps-limits.md`.
const MAX_BODY: usize = 256 * 1024;

/// HTTPS, for every kind of proof: symmetric keys, certificates and TPMs.
///
/// ```
/// use dps_device::Http;
///
/// let azure = Http::default();
/// let emulator = Http::default().with_port(8443);
/// # drop((azure, emulator));
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Http {
    port: Option<u16>,
}

impl Http {
    /// Connects to this port. The default is 443.
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
            // A new session in the middle of an operation uses the key of the last challenge.
            Proof::Tpm(tpm) => (None, Some(tpm), Some(tpm as &dyn Sign)),
        };
        Ok(Box::new(HttpSession {
            base: base(target.host(), self.port)?,
            client: client(target.endpoint.client_config(identity)?, target.proxy())?,
            target,
            tpm,
            token: signer.map(|signer| Token::new(signer, target)),
        }))
    }
}

/// The connection pool of the client holds the one connection, and closes it when it is dropped.
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
        self.authenticate(DeviceAction::Register, body).await
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        let action = DeviceAction::OperationStatus(operation.clone());
        self.exchange(action, None).await
    }

    async fn lookup(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        self.authenticate(DeviceAction::Lookup, body).await
    }
}

impl HttpSession<'_> {
    /// A TPM sends its first request without a token, and opens the challenge in the reply. A second challenge is a refusal.
    async fn authenticate(
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
        debug!("the TPM was challenged");
        // The TPM has half of the time limit, so that a TPM that hangs is not reported as a network failure.
        let key_name = challenge
            .open(tpm, self.target.request_timeout() / 2)
            .await?;
        self.token = Some(Token::new(tpm, self.target).with_key_name(key_name));
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
        let headers = response.headers().clone();
        let body = read(response).await?;
        let date = date(&headers);
        let retry_after = self.retry_after(&headers, date);
        if let Some(error) = page::check(status, text(&headers, CONTENT_TYPE), &body) {
            return Err(error.with_retry_after(retry_after));
        }
        let mut reply = Reply::new(status, body);
        reply.retry_after = retry_after;
        reply.date = date;
        Ok(reply)
    }

    /// A date in `Retry-After` is compared with the service's own clock, since the clock of the device may be wrong.
    fn retry_after(&self, headers: &HeaderMap, date: Option<SystemTime>) -> Option<Duration> {
        let now = date.unwrap_or_else(|| self.target.clock().now());
        parse_retry_after(text(headers, RETRY_AFTER)?, now)
    }
}

/// The first value of a header, as .NET reads duplicates of these headers.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, DATE)?).ok()
}

fn client(tls: rustls::ClientConfig, proxy: Option<&Proxy>) -> Result<Client, TransportError> {
    let unusable = |error| {
        TransportError::new(
            ErrorKind::InvalidConfiguration,
            "the HTTPS client cannot be built",
        )
        .with_source(error)
    };
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(AGENT)
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
    let host = match proxy.host().contains(':') {
        true => format!("[{}]", proxy.host()),
        false => proxy.host().to_owned(),
    };
    let tunnel = reqwest::Proxy::https(format!("http://{host}:{}", proxy.port()))?;
    Ok(match proxy.credentials() {
        Some((user, password)) => tunnel.basic_auth(user, password),
        None => tunnel,
    })
}

/// `https://host:port/`.
fn base(host: &Host, port: Option<u16>) -> Result<Url, TransportError> {
    host.for_tls()?;
    let mut url = Url::parse(&format!("https://{}/", host.for_url())).map_err(impossible)?;
    if url.set_port(port).is_err() {
        return Err(TransportError::new(
            ErrorKind::InvalidConfiguration,
            format!("{host} cannot have a port"),
        ));
    }
    Ok(url)
}

/// Reads the body. A body that is too large is dropped when the status reports a failure, since the status is enough.
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

/// TLS failures do not recover by themselves, network failures may.
fn failure(error: reqwest::Error) -> TransportError {
    let (kind, what) = if let Some(described) = tls_failure::describe(&error) {
        described
    } else if proxy_refused(&error) {
        (
            ErrorKind::InvalidConfiguration,
            "proxy authentication failed (status 407): the credentials are missing or wrong".into(),
        )
    } else if error.is_connect() {
        (ErrorKind::Connect, "the connection failed".into())
    } else {
        (ErrorKind::Connect, "the connection was lost".into())
    };
    TransportError::new(kind, what).with_source(error.without_url())
}

fn impossible(error: impl StdError + Send + Sync + 'static) -> TransportError {
    TransportError::new(
        ErrorKind::InvalidConfiguration,
        "the request cannot be encoded",
    )
    .with_source(error)
}
