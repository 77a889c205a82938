//! The service's side of a webhook: it asks over HTTP, and is a policy itself.

mod address;
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

use self::address::Address;
pub use self::address::{check_webhook_url, masked_url};
pub use self::caller::WebhookCaller;
pub use self::inspection::Inspection;
use crate::{Error, ErrorKind};

/// Makes callers of webhooks. Make one and keep it: it reads the trusted roots once, when the first `https` webhook
/// needs them.
///
/// Nothing is taken from the environment: no proxy, and no process-wide TLS provider.
#[derive(Clone)]
pub struct WebhookClient {
    roots: Roots,
    connect_timeout: Duration,
    total_timeout: Duration,
    https: OnceLock<reqwest::Client>,
    plain: OnceLock<reqwest::Client>,
}

impl WebhookClient {
    /// How long connecting may take, if not told otherwise: 5 seconds.
    pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// How long a call may take in all, if not told otherwise: 30 seconds. DPS does not say how long it waits.
    pub const DEFAULT_TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

    /// Trusts the roots that the system trusts.
    pub fn new() -> Self {
        Self::with_roots(Roots::system())
    }

    /// Trusts these roots.
    pub fn with_roots(roots: Roots) -> Self {
        Self {
            roots,
            connect_timeout: Self::DEFAULT_CONNECT_TIMEOUT,
            total_timeout: Self::DEFAULT_TOTAL_TIMEOUT,
            https: OnceLock::new(),
            plain: OnceLock::new(),
        }
    }

    /// How long connecting may take, and a call in all.
    #[must_use]
    pub fn with_timeouts(self, connect: Duration, total: Duration) -> Self {
        Self {
            connect_timeout: connect,
            total_timeout: total,
            ..Self::with_roots(self.roots)
        }
    }

    /// A caller of the webhook at this URL: `https` anywhere, plain `http` only on this machine (`localhost`, 127.0.0.0/8,
    /// ::1). The first `https` one reads the roots, blocking.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`], [`ErrorKind::InsecureUrl`] and [`ErrorKind::Roots`].
    pub fn caller(&self, url: &str) -> Result<WebhookCaller, Error> {
        let address = Address::parse(url)?;
        let http = match address.is_https() {
            true => self.client(&self.https, || self.trusting()),
            false => self.client(&self.plain, trusting_nobody),
        }?;
        Ok(WebhookCaller::new(address, http, self.total_timeout))
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
            // A connection kept from an earlier call may die with this one, and that would look like a failure of the webhook.
            .pool_max_idle_per_host(0)
            .connect_timeout(self.connect_timeout)
            // Whatever the resolver thinks: plain http does not leave this machine.
            .resolve_to_addrs("localhost", &LOCALHOST)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Client, "the HTTP client could not be made")
                    .with_source(error.without_url())
            })?;
        Ok(slot.get_or_init(|| client).clone())
    }

    fn trusting(&self) -> Result<ClientConfig, Error> {
        ClientTls::new(self.roots.clone()).build().map_err(|error| {
            Error::new(ErrorKind::Roots, "the trusted roots cannot be used").with_source(error)
        })
    }
}

/// What reqwest wants to be given even where there is no TLS; else it looks for a process-wide provider, and panics.
fn trusting_nobody() -> Result<ClientConfig, Error> {
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

/// Port 0 is that of the URL.
const LOCALHOST: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];
