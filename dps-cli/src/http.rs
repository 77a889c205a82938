//! An HTTPS client on the roots and the proxy of the options, and bounded bodies.

use std::error::Error as StdError;
use std::time::Duration;

use dps_service::{Proxy, Roots};
use dps_tls::ClientTls;

use crate::failure::{Failure, Result};

const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const MAX_BODY: usize = 1 << 20;

/// A client that follows no redirect: neither DPS nor a token endpoint redirects, and a captive portal does.
pub(crate) fn client(roots: Option<Roots>, proxy: Option<&Proxy>) -> Result<reqwest::Client> {
    let tls = ClientTls::new(roots.unwrap_or_else(Roots::system)).build();
    let tls = tls.map_err(|error| Failure::usage("TLS cannot be configured").because(&error))?;
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(TIMEOUT)
        .tls_backend_preconfigured(tls);
    if let Some(proxy) = proxy {
        let url = format!("http://{}:{}", proxy.host(), proxy.port());
        let mut own = reqwest::Proxy::all(url)
            .map_err(|error| Failure::usage("--proxy is not valid").because(&error))?;
        if let Some((user, password)) = proxy.credentials() {
            own = own.basic_auth(user, password);
        }
        builder = builder.proxy(own);
    }
    builder
        .build()
        .map_err(|error| Failure::usage("the HTTPS client cannot be configured").because(&error))
}

/// The body of an answer, up to a limit.
pub(crate) async fn body(
    mut answer: reqwest::Response,
) -> Result<Vec<u8>, Box<dyn StdError + Send + Sync>> {
    let mut bytes = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if bytes.len() + part.len() > MAX_BODY {
            return Err("the answer is too long".into());
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// Fields as `application/x-www-form-urlencoded`.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish()
}
