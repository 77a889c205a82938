//! How the bytes go out and come back, and what it means when they do not.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use dps_tls::{ClientTls, Roots, is_tls_failure, proxy_refused};
use dps_types::protocol::{ERROR_CODE, REQUEST_ID, parse_retry_after};
use dps_types::{ErrorCode, ErrorDetails};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Proxy, Response, StatusCode, Url, redirect};
use tokio::sync::OnceCell;
use tracing::debug;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::request::{Answer, Request};

const USER_AGENT: &str = concat!("dps-service/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections to one host, made when first needed.
pub(crate) struct Transport {
    roots: Roots,
    proxy: Option<Proxy>,
    http: OnceCell<reqwest::Client>,
}

impl Transport {
    pub(crate) fn new(roots: Roots, proxy: Option<Proxy>) -> Self {
        Self {
            roots,
            proxy,
            http: OnceCell::new(),
        }
    }

    pub(crate) fn with_roots(&self, roots: Roots) -> Self {
        Self::new(roots, self.proxy.clone())
    }

    /// Goes through the proxy at this URL: `http://user:password@host:port`.
    pub(crate) fn with_proxy(&self, url: &str) -> Result<Self, Error> {
        let wrong = || {
            let what = "the proxy is not written http://user:password@host:port";
            Error::new(ErrorKind::InvalidConfiguration, what)
        };
        // A source would repeat the text, and with it the password.
        let url = Url::parse(url).map_err(|_| wrong())?;
        let plain = url.scheme() == "http" && url.path() == "/" && url.query().is_none();
        if !plain || url.fragment().is_some() {
            return Err(wrong());
        }
        let proxy = Proxy::https(url).map_err(|_| wrong())?;
        Ok(Self::new(self.roots.clone(), Some(proxy)))
    }

    /// Sends the request once.
    pub(crate) async fn send(
        &self,
        url: Url,
        authorization: HeaderValue,
        request: &Request,
    ) -> Result<Answer, Error> {
        let http = self
            .http
            .get_or_try_init(|| async { self.connect(&url) })
            .await?;
        let mut builder = http
            .request(request.method(), url)
            .header(AUTHORIZATION, authorization)
            .headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let response = builder.send().await.map_err(broken)?;
        debug!(status = response.status().as_u16(), "the service answered");
        read(response, request.largest).await
    }

    fn connect(&self, url: &Url) -> Result<reqwest::Client, Error> {
        let unusable = |what| Error::new(ErrorKind::InvalidConfiguration, what);
        let tls = ClientTls::new(self.roots.clone())
            .build()
            .map_err(|error| unusable("the roots cannot be used").with_source(error))?;
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(USER_AGENT);
        let builder = match &self.proxy {
            Some(proxy) => builder.proxy(proxy.clone()),
            // A proxy of the environment cannot reach an emulator on this machine.
            None if is_this_machine(url) => builder.no_proxy(),
            None => builder,
        };
        builder
            .build()
            .map_err(|error| unusable("no HTTP client can be made").with_source(error))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("roots", &self.roots)
            .field("has_proxy", &self.proxy.is_some())
            .finish_non_exhaustive()
    }
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

async fn read(mut response: Response, largest: usize) -> Result<Answer, Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > largest {
            if !status.is_success() {
                // The status says enough.
                return Err(refusal(status, &headers, &[]));
            }
            let what = "the answer is larger than any of this API";
            return Err(Error::new(ErrorKind::Protocol, what).with_status(status.as_u16()));
        }
        body.extend_from_slice(&chunk);
    }
    match status.is_success() {
        true => Ok(Answer { headers, body }),
        false => Err(refusal(status, &headers, &body)),
    }
}

/// What an answer means that says no.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let kind = ErrorKind::of_status(status.as_u16());
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let retry_after = headers.get(RETRY_AFTER).and_then(|value| {
        let value = value.to_str().ok()?;
        parse_retry_after(value, SystemTime::now())
    });
    // 503 is the refusal of a service that is not there; after any other failure the work may be done.
    let doubt = kind == ErrorKind::Service && status != StatusCode::SERVICE_UNAVAILABLE;
    Error::new(kind, format!("the service answered {status}"))
        .with_status(status.as_u16())
        .with_details(error_details(body, text(ERROR_CODE), text(REQUEST_ID)))
        .with_retry_after(retry_after)
        .in_doubt_if(doubt)
}

/// The service's account of a failure. Headers stand in for what the body does not tell.
fn error_details(
    body: &[u8],
    code: Option<&str>,
    request_id: Option<&str>,
) -> Option<ErrorDetails> {
    let mut details: ErrorDetails = serde_json::from_slice(body).unwrap_or_default();
    let code = code.and_then(|code| code.trim().parse().ok());
    details.error_code = details.error_code.or(code.map(ErrorCode::new));
    details.tracking_id = details.tracking_id.or(request_id.map(str::to_owned));
    let told = details.error_code.is_some() || details.message.is_some();
    (told || details.tracking_id.is_some()).then_some(details)
}

/// What it means that there is no whole answer.
fn broken(error: reqwest::Error) -> Error {
    let sent = !error.is_connect();
    let (kind, what) = if error.is_builder() {
        let what = "the request cannot be made";
        (ErrorKind::InvalidConfiguration, what)
    } else if is_tls_failure(&error) {
        (ErrorKind::Tls, "the TLS connection failed")
    } else if proxy_refused(&error) {
        let what = "the proxy wants credentials, or other ones (status 407)";
        (ErrorKind::InvalidConfiguration, what)
    } else if sent {
        let what = "the connection broke before the answer was there";
        (ErrorKind::Connect, what)
    } else {
        (ErrorKind::Connect, "the service cannot be reached")
    };
    Error::new(kind, what)
        .in_doubt_if(sent)
        .with_source(error.without_url())
}
