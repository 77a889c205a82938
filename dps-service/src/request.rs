//! One request, one answer: how the bytes go out, and what an answer means.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dps_tls::{ClientTls, Roots, is_tls_failure};
use dps_types::protocol::service::ServiceRoute;
use dps_types::protocol::{ERROR_CODE, IfMatch, REQUEST_ID, parse_retry_after};
use dps_types::{ErrorCode, Problem};
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode, Url, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tracing::debug;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const USER_AGENT: &str = concat!("dps-service/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that is read: many times the largest document.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

/// What to ask for.
pub(crate) struct Request {
    pub(crate) route: ServiceRoute,
    if_match: Option<IfMatch>,
    body: Option<Bytes>,
}

impl Request {
    pub(crate) fn new(route: ServiceRoute) -> Self {
        Self {
            route,
            if_match: None,
            body: None,
        }
    }

    pub(crate) fn if_match(mut self, condition: IfMatch) -> Self {
        self.if_match = Some(condition);
        self
    }

    /// The document may hold keys: its bytes are wiped when the last attempt is done with them.
    pub(crate) fn json(mut self, document: &impl Serialize) -> Result<Self, Error> {
        let json = serde_json::to_vec(document).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the document cannot be written").with_source(error)
        })?;
        self.body = Some(Bytes::from_owner(Zeroizing::new(json)));
        Ok(self)
    }
}

/// The body of an answer that says yes.
pub(crate) struct Answer(Zeroizing<Vec<u8>>);

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // serde_json quotes what it did not expect, which may be a key: only the place is told.
        serde_json::from_slice(&self.0).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what =
                format!("the answer is not the document asked for (line {line}, column {column})");
            Error::new(ErrorKind::Protocol, what)
        })
    }
}

/// The connections to one host, made when first needed.
pub(crate) struct Transport {
    roots: Roots,
    http: OnceCell<reqwest::Client>,
}

impl Transport {
    pub(crate) fn new(roots: Roots) -> Self {
        Self {
            roots,
            http: OnceCell::new(),
        }
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
        let method = match request.route.method() {
            "PUT" => Method::PUT,
            "DELETE" => Method::DELETE,
            "POST" => Method::POST,
            _ => Method::GET,
        };
        let path = url.path().to_owned();
        let mut builder = http
            .request(method.clone(), url)
            .header(reqwest::header::AUTHORIZATION, authorization);
        if let Some(condition) = &request.if_match {
            builder = builder.header(IF_MATCH, condition.to_string());
        }
        builder = match &request.body {
            Some(body) => builder.header(CONTENT_TYPE, JSON).body(body.clone()),
            None if method == Method::POST => builder.header(CONTENT_LENGTH, 0),
            None => builder,
        };
        let response = builder.send().await.map_err(broken)?;
        debug!(%method, path, status = response.status().as_u16(), "the service answered");
        read(response).await
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
        // A proxy of the environment cannot reach an emulator on this machine.
        let builder = match is_this_machine(url) {
            true => builder.no_proxy(),
            false => builder,
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
            .finish_non_exhaustive()
    }
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

async fn read(mut response: Response) -> Result<Answer, Error> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
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
        true => Ok(Answer(body)),
        false => Err(refusal(status, &headers, &body)),
    }
}

/// What an answer means that says no.
fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let kind = match status.as_u16() {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        408 | 500.. => ErrorKind::Service,
        409 => ErrorKind::Conflict,
        412 => ErrorKind::PreconditionFailed,
        429 => ErrorKind::Throttled,
        400.. => ErrorKind::Invalid,
        _ => ErrorKind::Protocol,
    };
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let retry_after = headers.get(RETRY_AFTER).and_then(|value| {
        let value = value.to_str().ok()?;
        parse_retry_after(value, SystemTime::now())
    });
    // 503 is the refusal of a service that is not there; after any other failure the work may be done.
    let doubt = kind == ErrorKind::Service && status != StatusCode::SERVICE_UNAVAILABLE;
    Error::new(kind, format!("the service answered {status}"))
        .with_status(status.as_u16())
        .with_problem(problem(body, text(ERROR_CODE), text(REQUEST_ID)))
        .with_retry_after(retry_after)
        .in_doubt_if(doubt)
}

/// The service's account of a failure. Headers stand in for what the body does not tell.
fn problem(body: &[u8], code: Option<&str>, request_id: Option<&str>) -> Option<Problem> {
    let mut problem: Problem = serde_json::from_slice(body).unwrap_or_default();
    let code = code.and_then(|code| code.trim().parse().ok());
    problem.error_code = problem.error_code.or(code.map(ErrorCode::new));
    problem.tracking_id = problem.tracking_id.or(request_id.map(str::to_owned));
    let told = problem.error_code.is_some() || problem.message.is_some();
    (told || problem.tracking_id.is_some()).then_some(problem)
}

/// What it means that there is no whole answer.
fn broken(error: reqwest::Error) -> Error {
    let sent = !error.is_connect();
    let (kind, what) = if error.is_builder() {
        let what = "the request cannot be made";
        (ErrorKind::InvalidConfiguration, what)
    } else if is_tls_failure(&error) {
        (ErrorKind::Tls, "the TLS connection failed")
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
