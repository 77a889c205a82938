//! The client: where the service is, who asks, and how long an operation may take.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dps_tls::Roots;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::protocol::ApiVersion;
use dps_types::{ParseError, ServiceConnectionString, SymmetricKey};
use reqwest::Url;
use tokio::time::Instant;
use tracing::{Instrument, info_span};

use crate::api_version;
use crate::credential::{BearerTokens, Credential, SharedAccessPolicy, TokenProvider};
use crate::enrollments::Enrollments;
use crate::error::{Error, ErrorKind};
use crate::registrations::Registrations;
use crate::request::{Answer, Request};
use crate::retry::{Done, Repeat, deadline_in, retry};
use crate::transport::Transport;

/// A client of the service API of one Device Provisioning Service.
///
/// Clones share their connections and their token. Nothing is sent before the first operation.
///
/// It goes through the proxy that the environment names (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), unless it is given one,
/// or the service is an emulator on this machine.
#[derive(Clone)]
pub struct ServiceClient {
    base: Url,
    credential: Arc<Credential>,
    transport: Arc<Transport>,
    deadline: Duration,
    api_version: ApiVersion,
}

impl ServiceClient {
    /// How long an operation may take, unless [`ServiceClient::with_timeout`] says otherwise: one minute.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);
    /// The api-version, unless [`ServiceClient::with_api_version`] says otherwise: 2021-10-01.
    pub const DEFAULT_API_VERSION: ApiVersion = ApiVersion::V2021_10_01;

    /// A client for the connection string of a shared access policy, as the portal shows it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] when it is not one. The error does not repeat it.
    pub fn from_connection_string(text: &str) -> Result<Self, Error> {
        Self::new(&text.parse().map_err(unusable)?)
    }

    /// A client for a shared access policy: the host, with or without a port, the policy's name, and its key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] when host or name cannot be ones.
    pub fn from_key(host: &str, policy: &str, key: SymmetricKey) -> Result<Self, Error> {
        Self::new(&ServiceConnectionString::new(host, policy, key).map_err(unusable)?)
    }

    /// A client for a connection string that has been read already.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] when its host name is not a host, with or without a port.
    pub fn new(connection: &ServiceConnectionString) -> Result<Self, Error> {
        let policy = SharedAccessPolicy::new(connection);
        Self::with_credential(connection.host_name(), Credential::Policy(policy))
    }

    /// A client that shows bearer tokens of Microsoft Entra ID, at this host, with or without a port.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] when the host is none.
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
            deadline: Self::DEFAULT_DEADLINE,
            api_version: Self::DEFAULT_API_VERSION,
        })
    }

    /// Trusts these roots, instead of the platform's.
    #[must_use]
    pub fn with_roots(mut self, roots: Roots) -> Self {
        self.transport = Arc::new(self.transport.with_roots(roots));
        self
    }

    /// Goes through this HTTP proxy, written `http://host:port` or `http://user:password@host:port`, whatever the
    /// environment says. The proxy sees the host name, and nothing else.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] when it is written in another way. The error does not repeat it.
    pub fn with_proxy(mut self, url: &str) -> Result<Self, Error> {
        self.transport = Arc::new(self.transport.with_proxy(url)?);
        Ok(self)
    }

    /// How long each operation may take, with all its attempts.
    #[must_use]
    pub fn with_timeout(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Speaks another edition of the API. What it does not know fails with [`ErrorKind::Unsupported`], unsent.
    #[must_use]
    pub fn with_api_version(mut self, version: ApiVersion) -> Self {
        self.api_version = version;
        self
    }

    /// Enrollments of one device each.
    pub fn individual_enrollments(&self) -> Enrollments<'_, IndividualEnrollment> {
        Enrollments::new(self)
    }

    /// Enrollments of many devices each.
    pub fn enrollment_groups(&self) -> Enrollments<'_, EnrollmentGroup> {
        Enrollments::new(self)
    }

    /// What became of the devices that registered.
    pub fn registrations(&self) -> Registrations<'_> {
        Registrations::new(self)
    }

    pub(crate) fn api_version(&self) -> ApiVersion {
        self.api_version
    }

    /// When an operation that begins now must end.
    pub(crate) fn deadline(&self) -> Instant {
        deadline_in(self.deadline)
    }

    /// Sends the request until it is answered, as far as deadline and kind of request allow.
    pub(crate) async fn send(
        &self,
        request: Request,
        repeat: Repeat,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        let done = self.send_telling_doubt(request, repeat, deadline).await?;
        Ok(done.value)
    }

    /// As [`ServiceClient::send`]. Tells whether an attempt before the last may have been carried out.
    pub(crate) async fn send_telling_doubt(
        &self,
        request: Request,
        repeat: Repeat,
        deadline: Instant,
    ) -> Result<Done<Answer>, Error> {
        api_version::check_route(&request.route, self.api_version)?;
        let path = request.route.path();
        let mut url = self.base.clone();
        url.set_path(&path);
        url.query_pairs_mut()
            .append_pair(ApiVersion::PARAMETER, &self.api_version.to_string());
        let span = info_span!("service_request", method = request.route.method(), path);
        let (url, request) = (&url, &request);
        retry(deadline, repeat, || async move {
            let authorization = self.credential.authorization(SystemTime::now()).await?;
            self.transport
                .send(url.clone(), authorization, request)
                .await
        })
        .instrument(span)
        .await
    }

    /// Deletes without a condition. Gone after an attempt whose end nobody saw is deleted, most likely by that attempt.
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
            .field("deadline", &self.deadline)
            .field("api_version", &self.api_version)
            .finish()
    }
}

fn unusable(error: ParseError) -> Error {
    let what = "the connection string cannot be used";
    Error::new(ErrorKind::InvalidConfiguration, what).with_source(error)
}

/// `https://` and the host: nothing that the name could smuggle into a URL beside host and port.
fn base(host: &str) -> Result<Url, Error> {
    let wrong = || {
        let what = "the host name of the service is not a host";
        Error::new(ErrorKind::InvalidConfiguration, what)
    };
    let url =
        Url::parse(&format!("https://{host}/")).map_err(|error| wrong().with_source(error))?;
    let bare = !host.contains(['@', '?', '#', '\\', '/']) && url.path() == "/";
    bare.then_some(url).ok_or_else(wrong)
}
