//! The client: host, credential, transport, and the timeout of an operation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dps_tls::{Proxy, Roots};
use dps_types::protocol::ApiVersion;
use dps_types::{Clock, ParseError, ServiceConnectionString, SymmetricKey, SystemClock};
use reqwest::Url;
use tokio::time::Instant;
use tracing::{Instrument, info, info_span};

use crate::api_version;
use crate::credential::{BearerTokens, Credential, SharedAccessPolicy, TokenProvider};
use crate::error::{Error, ErrorKind};
use crate::request::{Answer, Request};
use crate::retry::{Done, Repeat, deadline_in, retry};
use crate::transport::Transport;

/// A client of the service API of one Device Provisioning Service.
///
/// Clones share their connections and their token. Nothing is sent before the first operation. Nothing is read from the
/// environment: a proxy has to be set with [`ServiceClient::with_proxy`].
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use dps_service::ServiceClient;
/// use dps_types::SymmetricKey;
/// use dps_types::enrollment::IndividualEnrollment;
///
/// let dps = ServiceClient::from_connection_string(&std::env::var("DPS_CONNECTION_STRING")?)?;
/// let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
/// let enrollment = IndividualEnrollment::from_keys("toaster-1".parse()?, &primary, &secondary);
/// dps.individual_enrollments().create(&enrollment).await?;
/// # Ok(())
/// # }
/// ```
///
/// See the page [Operating a fleet](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/operating.md) of the book.
#[derive(Clone)]
pub struct ServiceClient {
    base: Url,
    credential: Arc<Credential>,
    transport: Arc<Transport>,
    timeout: Duration,
    /// `None` is the default, which a document may raise.
    api_version: Option<ApiVersion>,
    clock: Arc<dyn Clock>,
}

impl ServiceClient {
    /// The default timeout of an operation: one minute.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
    /// The default api-version: 2021-10-01. Enrollments are read with 2026-11-01 if the service has it. A write of an enrollment with
    /// a newer field uses the first api-version that has it.
    pub const DEFAULT_API_VERSION: ApiVersion = api_version::DEFAULT;

    /// Creates a client from the connection string of a shared access policy, as the Azure portal shows it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] when the text is not a valid connection string. The error does not repeat it.
    pub fn from_connection_string(text: &str) -> Result<Self, Error> {
        Self::new(&text.parse().map_err(not_usable)?)
    }

    /// Creates a client from a shared access policy: the host, with or without a port, the name of the policy, and its
    /// key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] when the host or the name is not valid.
    pub fn from_key(host: &str, policy: &str, key: SymmetricKey) -> Result<Self, Error> {
        Self::new(&ServiceConnectionString::new(host, policy, key).map_err(not_usable)?)
    }

    /// Creates a client from a connection string that is already parsed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] when its host name is not a host, with or without a port.
    pub fn new(connection: &ServiceConnectionString) -> Result<Self, Error> {
        let policy = SharedAccessPolicy::new(connection);
        Self::with_credential(connection.host_name(), Credential::Policy(policy))
    }

    /// Creates a client that authenticates with bearer tokens of Microsoft Entra ID, for this host, with or without a
    /// port.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] when the host is not valid.
    pub fn from_token_provider(
        host: &str,
        provider: impl TokenProvider + 'static,
    ) -> Result<Self, Error> {
        Self::with_credential(host, Credential::Bearer(BearerTokens::new(provider)))
    }

    fn with_credential(host: &str, credential: Credential) -> Result<Self, Error> {
        Ok(Self {
            base: base(host)?,
            credential: Arc::new(credential),
            transport: Arc::new(Transport::new(Roots::system(), None)),
            timeout: Self::DEFAULT_TIMEOUT,
            api_version: None,
            clock: Arc::new(SystemClock),
        })
    }

    /// Trusts these roots instead of the roots of the operating system.
    #[must_use]
    pub fn with_roots(mut self, roots: Roots) -> Self {
        self.transport = Arc::new(self.transport.with_roots(roots));
        self
    }

    /// Connects through this HTTP proxy. The proxy sees only the host name of the service.
    ///
    /// ```
    /// # fn run(dps: dps_service::ServiceClient) -> Result<(), Box<dyn std::error::Error>> {
    /// let dps = dps.with_proxy("http://user:password@proxy.example.com:3128".parse()?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_proxy(mut self, proxy: Proxy) -> Self {
        self.transport = Arc::new(self.transport.with_proxy(proxy));
        self
    }

    /// Sets the timeout of each operation, with all its attempts.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the api-version of every request. An operation or a field that it does not have fails with
    /// [`ErrorKind::Unsupported`] before anything is sent.
    ///
    /// The service returns only the fields of the api-version of a request, and a write of such a document removes the others. So
    /// without a chosen api-version, `get`, `query` and [`modify`](crate::Enrollments::modify) of enrollments read with
    /// [`ApiVersion::V2026_11_01`], the newest stable one. If the service answers that with 400, they send a second request with
    /// [`ServiceClient::DEFAULT_API_VERSION`]. Set [`ApiVersion::V2025_07_01_PREVIEW`] to read the `credentialPolicyName` of
    /// enrollments, which no other api-version has; `modify` keeps it without that.
    #[must_use]
    pub fn with_api_version(mut self, version: ApiVersion) -> Self {
        self.api_version = Some(version);
        self
    }

    /// Sets the clock that determines when tokens expire.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The api-version that the caller has chosen.
    pub(crate) fn chosen_version(&self) -> Option<ApiVersion> {
        self.api_version
    }

    /// The time at which an operation that begins now has to end.
    pub(crate) fn deadline(&self) -> Instant {
        deadline_in(self.timeout)
    }

    /// Sends the request, and retries as the deadline and the kind of request allow.
    pub(crate) async fn send(
        &self,
        request: Request,
        repeat: Repeat,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let done = self.send_with_doubt(request, repeat, deadline).await?;
        Ok(done.value)
    }

    /// As [`ServiceClient::send`], and reports whether an attempt before the last may have been carried out.
    pub(crate) async fn send_with_doubt(
        &self,
        request: Request,
        repeat: Repeat,
        deadline: Instant,
    ) -> Result<Done<Answer>, Error> {
        let version = request.api_version.or(self.api_version);
        let version = version.unwrap_or(Self::DEFAULT_API_VERSION);
        api_version::check_route(&request.route, version)?;
        let path = request.route.path();
        let mut url = self.base.clone();
        url.set_path(&path);
        url.query_pairs_mut()
            .append_pair(ApiVersion::PARAMETER, &version.to_string());
        let span = info_span!("service_request", method = request.route.method(), path);
        let (url, request) = (&url, &request);
        retry(deadline, repeat, || self.attempt(url, request))
            .instrument(span)
            .await
    }

    /// Sends the request once, and once more with a fresh bearer token if the service refuses the token.
    ///
    /// The provider's token may have been revoked, or have ended early because clocks differ. The service carries out
    /// nothing that it answers with 401, so the second request is always safe.
    async fn attempt(&self, url: &Url, request: &Request) -> Result<Answer, Error> {
        let now = self.clock.now();
        let token = self.credential.authorization(now).await?;
        let sent = self
            .transport
            .send(url.clone(), token.clone(), request, now);
        match sent.await {
            Err(error) if error.kind() == ErrorKind::Unauthorized => {
                if !self.credential.discard(&token).await {
                    return Err(error);
                }
                info!(%error, "the service refused the token: trying a fresh one");
            }
            result => return result,
        }
        let token = self.credential.authorization(now).await?;
        self.transport.send(url.clone(), token, request, now).await
    }

    /// Deletes unconditionally. If an earlier attempt may have been carried out, 404 is a success: that attempt deleted it.
    pub(crate) async fn delete(&self, request: Request) -> Result<(), Error> {
        match self.send(request, Repeat::Freely, self.deadline()).await {
            Err(error) if error.kind() == ErrorKind::NotFound && error.is_in_doubt() => Ok(()),
            result => result.map(drop),
        }
    }
}

impl fmt::Debug for ServiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceClient")
            .field("host", &self.base.authority())
            .field("credential", &self.credential)
            .field("transport", &self.transport)
            .field("timeout", &self.timeout)
            .field("api_version", &self.api_version)
            .finish_non_exhaustive()
    }
}

fn not_usable(error: ParseError) -> Error {
    let message = "the connection string is not valid";
    Error::new(ErrorKind::InvalidConfiguration, message).with_source(error)
}

/// Returns the URL of the host: nothing else in the text may become a part of the URL.
fn base(host: &str) -> Result<Url, Error> {
    let invalid = || {
        let message = "the host name of the service is not a valid host such as \
            contoso.azure-devices-provisioning.net";
        Error::new(ErrorKind::InvalidConfiguration, message)
    };
    let url =
        Url::parse(&format!("https://{host}/")).map_err(|error| invalid().with_source(error))?;
    let is_bare = !host.contains(['@', '?', '#', '\\', '/']) && url.path() == "/";
    is_bare.then_some(url).ok_or_else(invalid)
}
