//! Sends one request over HTTPS, and turns a failure or an error answer into an [`Error`].

use std::fmt;
use std::time::{Duration, SystemTime};

use dps_tls::{ClientTls, Proxy, Roots, causes, is_tls_failure, proxy_refused};
use dps_types::protocol::{ERROR_CODE, REQUEST_ID, parse_retry_after};
use dps_types::{ErrorCode, ErrorDetails, json};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url, redirect};
use tokio::sync::OnceCell;
use tracing::debug;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::request::{Answer, Request};

const USER_AGENT: &str = concat!("dps-service/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The connections to one host. The HTTP client is created for the first request.
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

    pub(crate) fn with_proxy(&self, proxy: Proxy) -> Self {
        Self::new(self.roots.clone(), Some(proxy))
    }

    /// Sends the request once. `now` is for a `Retry-After` that is a date.
    pub(crate) async fn send(
        &self,
        url: Url,
        authorization: HeaderValue,
        request: &Request,
        now: SystemTime,
    ) -> Result<Answer, Error> {
        let http = self
            .http
            .get_or_try_init(|| async { self.client() })
            .await?;
        let mut builder = http
            .request(request.method(), url)
            .header(AUTHORIZATION, authorization)
            .headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let response = builder.send().await.map_err(no_answer)?;
        debug!(status = response.status().as_u16(), "the service answered");
        read(response, request.max_answer, now).await
    }

    fn client(&self) -> Result<reqwest::Client, Error> {
        let not_usable = |message| Error::new(ErrorKind::InvalidConfiguration, message);
        let tls = ClientTls::new(self.roots.clone())
            .build()
            .map_err(|error| not_usable("the trusted roots are not usable").with_source(error))?;
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(USER_AGENT)
            // Nothing is read from the environment.
            .no_proxy();
        let builder = match &self.proxy {
            Some(proxy) => builder.proxy(http_proxy(proxy)?),
            None => builder,
        };
        builder
            .build()
            .map_err(|error| not_usable("the HTTP client cannot be created").with_source(error))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("roots", &self.roots)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

fn http_proxy(proxy: &Proxy) -> Result<reqwest::Proxy, Error> {
    let host = match proxy.host() {
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let url = format!("http://{host}:{}", proxy.port());
    let http = reqwest::Proxy::https(url).map_err(|error| {
        Error::new(ErrorKind::InvalidConfiguration, "the proxy is not usable")
            .with_source(error.without_url())
    })?;
    Ok(match proxy.credentials() {
        Some((user, password)) => http.basic_auth(user, password),
        None => http,
    })
}

async fn read(mut response: Response, max: usize, now: SystemTime) -> Result<Answer, Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
        if body.len() + chunk.len() > max {
            if !status.is_success() {
                // The status and the headers are enough for an error.
                return Err(error_answer(status, &headers, &body, now));
            }
            let message = format!("the answer is larger than {max} bytes");
            return Err(Error::new(ErrorKind::Protocol, message).with_status(status.as_u16()));
        }
        body.extend_from_slice(&chunk);
    }
    match status.is_success() && !is_html(&headers, &body) {
        true => Ok(Answer { headers, body }),
        false => Err(error_answer(status, &headers, &body, now)),
    }
}

/// The error for an answer that is not a success.
fn error_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Error {
    let kind = ErrorKind::of_status(status.as_u16());
    let is_transient = matches!(kind, ErrorKind::Service | ErrorKind::Throttled);
    let is_html = is_html(headers, body);
    let (kind, message) = match is_html {
        // A gateway in front of the service may also answer in HTML, but a retry after it may succeed.
        true if is_transient => (
            kind,
            format!("a server answered {status} with an HTML page"),
        ),
        true => (
            ErrorKind::Protocol,
            format!(
                "the answer is an HTML page with status {status}, not an answer of the service: \
                 a proxy, a firewall or a login page answered instead"
            ),
        ),
        false if status.is_redirection() => (
            kind,
            format!(
                "the answer is a redirect with status {status}, which the service never sends: \
                 a proxy, a firewall or a login page answered instead"
            ),
        ),
        false => (kind, format!("the service answered {status}")),
    };
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let retry_after = headers
        .get(RETRY_AFTER)
        .and_then(|value| parse_retry_after(value.to_str().ok()?, now));
    // With 503 the service did nothing. After any other failure it may have carried out the request.
    let in_doubt = kind == ErrorKind::Service && status != StatusCode::SERVICE_UNAVAILABLE;
    let body = if is_html { &[] } else { body };
    Error::new(kind, message)
        .with_status(status.as_u16())
        .with_details(error_details(body, text(ERROR_CODE), text(REQUEST_ID)))
        .with_retry_after(retry_after)
        .in_doubt_if(in_doubt)
}

/// Returns true if another server answered: every answer of the service is JSON or empty.
fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let declared = content_type.is_some_and(|it| {
        let essence = it.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/html")
            || essence.eq_ignore_ascii_case("application/xhtml+xml")
    });
    let start = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    declared || start.trim_ascii_start().starts_with(b"<")
}

/// Reads the error details of the service. The headers are used for what the body does not contain.
fn error_details(
    body: &[u8],
    code: Option<&str>,
    request_id: Option<&str>,
) -> Option<ErrorDetails> {
    let mut details: ErrorDetails = json::from_slice(body).unwrap_or_default();
    let code = code.and_then(|code| code.trim().parse().ok());
    details.error_code = details.error_code.or(code.map(ErrorCode::new));
    details.tracking_id = details.tracking_id.or(request_id.map(str::to_owned));
    let has_error = details.error_code.is_some() || details.message.is_some();
    (has_error || details.tracking_id.is_some()).then_some(details)
}

/// The error for a request without a complete answer.
fn no_answer(error: reqwest::Error) -> Error {
    let sent = !error.is_connect();
    let (kind, message): (_, &str) = if error.is_builder() {
        let message = "the request cannot be created";
        (ErrorKind::InvalidConfiguration, message)
    } else if is_tls_failure(&error) {
        (ErrorKind::Tls, tls_message(&error))
    } else if proxy_refused(&error) {
        let message =
            "proxy authentication failed (status 407): the credentials are missing or rejected";
        (ErrorKind::InvalidConfiguration, message)
    } else if sent {
        let message = "the connection was lost before the answer arrived";
        (ErrorKind::Connect, message)
    } else {
        (ErrorKind::Connect, "the service cannot be reached")
    };
    Error::new(kind, message.to_owned())
        .in_doubt_if(sent)
        .with_source(error.without_url())
}

fn tls_message(error: &reqwest::Error) -> &'static str {
    match causes(error).find_map(<dyn std::error::Error>::downcast_ref) {
        // A trusted root with the name of the issuer, but another key, causes a bad signature.
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature,
        )) => {
            "the certificate of the server is not from a trusted root: \
             trust the root with ServiceClient::with_roots if it is your own, such as that of an emulator or a proxy"
        }
        Some(rustls::Error::InvalidCertificate(
            rustls::CertificateError::Expired
            | rustls::CertificateError::ExpiredContext { .. }
            | rustls::CertificateError::NotValidYet
            | rustls::CertificateError::NotValidYetContext { .. },
        )) => {
            "the certificate of the server is not valid at this time: check the clock of this machine"
        }
        _ => "the TLS connection failed",
    }
}
