//! The service's side of a webhook: calls webhooks over HTTP as DPS does.

mod caller;
mod inspection;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dps_tls::{ClientTls, Roots};
use reqwest::redirect;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};

pub use self::caller::WebhookCaller;
pub use self::inspection::Inspection;
use crate::webhook_url::WebhookUrl;
use crate::{Error, ErrorKind};

/// Creates callers of webhooks. Create one and keep it: it reads the trusted roots once, for the first `https` webhook.
///
/// It reads nothing from the environment: no proxy, and no process-wide TLS provider.
///
/// ```no_run
/// # async fn example(request: dps_types::AllocationRequest) -> Result<(), dps_allocation::Error> {
/// use dps_allocation::WebhookClient;
///
/// let inspection = WebhookClient::new().inspect("https://contoso.azurewebsites.net/api/allocate", &request).await?;
/// println!("{:?} in {:?}", inspection.outcome().hub(), inspection.elapsed());
/// for remark in inspection.remarks() {
///     println!("{remark}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct WebhookClient {
    roots: Roots,
    connect_timeout: Duration,
    total_timeout: Duration,
    https: OnceLock<reqwest::Client>,
    http: OnceLock<reqwest::Client>,
}

impl WebhookClient {
    /// The default timeout of connecting: 5 seconds.
    pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// The default timeout of a whole call: 30 seconds. The documentation of DPS does not state its timeout.
    pub const DEFAULT_TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

    /// Creates a client that trusts the roots of the operating system.
    pub fn new() -> Self {
        Self::with_roots(Roots::system())
    }

    /// Creates a client that trusts these roots.
    pub fn with_roots(roots: Roots) -> Self {
        Self {
            roots,
            connect_timeout: Self::DEFAULT_CONNECT_TIMEOUT,
            total_timeout: Self::DEFAULT_TOTAL_TIMEOUT,
            https: OnceLock::new(),
            http: OnceLock::new(),
        }
    }

    /// Sets the timeouts of connecting and of a whole call.
    #[must_use]
    pub fn with_timeouts(self, connect: Duration, total: Duration) -> Self {
        Self {
            connect_timeout: connect,
            total_timeout: total,
            ..Self::with_roots(self.roots)
        }
    }

    /// Creates a caller of the webhook at this URL: `https` on any host, `http` only on this machine (`localhost`,
    /// 127.0.0.0/8, ::1). The first `https` caller reads the roots and blocks meanwhile.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`], [`ErrorKind::InsecureUrl`] and [`ErrorKind::Roots`].
    pub fn caller(&self, url: &str) -> Result<WebhookCaller, Error> {
        let url = WebhookUrl::parse(url)?;
        let http = match url.is_https() {
            true => self.client(&self.https, || self.tls()),
            false => self.client(&self.http, tls_without_roots),
        }?;
        Ok(WebhookCaller::new(url, http, self.total_timeout))
    }

    fn client(
        &self,
        slot: &OnceLock<reqwest::Client>,
        tls: impl FnOnce() -> Result<ClientConfig, Error>,
    ) -> Result<reqwest::Client, Error> {
        if let Some(client) = slot.get() {
            return Ok(client.clone());
        }
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .http1_only()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            // A reused connection may fail during this call, which would look like a failure of the webhook.
            .pool_max_idle_per_host(0)
            .connect_timeout(self.connect_timeout)
            // Plain http stays on this machine: the resolver cannot send it elsewhere.
            .resolve_to_addrs("localhost", &LOCALHOST)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Client, "the HTTP client cannot be created")
                    .with_source(error.without_url())
            })?;
        Ok(slot.get_or_init(|| client).clone())
    }

    fn tls(&self) -> Result<ClientConfig, Error> {
        ClientTls::new(self.roots.clone()).build().map_err(|error| {
            Error::new(ErrorKind::Roots, "the trusted roots are not usable").with_source(error)
        })
    }
}

/// reqwest requires a configuration even without TLS: otherwise it uses the process-wide provider, and panics without one.
fn tls_without_roots() -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| {
            Error::new(ErrorKind::Client, "rustls refused the protocol versions").with_source(error)
        })?;
    Ok(config
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

impl Default for WebhookClient {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WebhookClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookClient")
            .field("roots", &self.roots)
            .field("connect_timeout", &self.connect_timeout)
            .field("total_timeout", &self.total_timeout)
            .finish_non_exhaustive()
    }
}

/// Port 0 means the port in the URL.
const LOCALHOST: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];
