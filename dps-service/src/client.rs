//! The client: where the service is, who asks, and how long an operation may take.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dps_tls::Roots;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::protocol::ApiVersion;
use dps_types::{ParseError, ServiceConnectionString};
use reqwest::Url;
use tokio::time::Instant;

use crate::credential::Credential;
use crate::enrollments::Enrollments;
use crate::error::{Error, ErrorKind};
use crate::registrations::Registrations;
use crate::request::{Answer, Request, Transport};
use crate::retry::{Repeat, deadline_in, retry};

/// A client of the service API of one Device Provisioning Service.
///
/// Clones share their connections and their token. Nothing is sent before the first operation.
///
/// It goes through the proxy that the environment names (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), unless the service is an
/// emulator on this machine.
#[derive(Clone)]
pub struct ServiceClient {
    base: Url,
    credential: Arc<Credential>,
    transport: Arc<Transport>,
    deadline: Duration,
    api_version: ApiVersion,
}

impl ServiceClient {
    /// How long an operation may take, unless [`ServiceClient::with_deadline`] says otherwise: one minute.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);
    /// The api-version, unless [`ServiceClient::with_api_version`] says otherwise: 2021-10-01.
    pub const DEFAULT_API_VERSION: ApiVersion = ApiVersion::V2021_10_01;

    /// A client for the connection string of a shared access policy, as the portal shows it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] when it is not one. The error does not repeat it.
    pub fn from_connection_string(text: &str) -> Result<Self, Error> {
        let connection = text.parse().map_err(|error: ParseError| {
            let what = "the connection string cannot be used";
            Error::new(ErrorKind::InvalidConfiguration, what).with_source(error)
        })?;
        Self::new(&connection)
    }

    /// A client for a connection string that has been read already.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfiguration`] when its host name is not a host, with or without a port.
    pub fn new(connection: &ServiceConnectionString) -> Result<Self, Error> {
        Ok(Self {
            base: base(connection.host_name())?,
            credential: Arc::new(Credential::new(connection)),
            transport: Arc::new(Transport::new(Roots::system())),
            deadline: Self::DEFAULT_DEADLINE,
            api_version: Self::DEFAULT_API_VERSION,
        })
    }

    /// Trusts these roots, instead of the platform's.
    #[must_use]
    pub fn with_roots(mut self, roots: Roots) -> Self {
        self.transport = Arc::new(Transport::new(roots));
        self
    }

    /// How long each operation may take, with all its attempts.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Speaks another edition of the API.
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
        let mut url = self.base.clone();
        url.set_path(&request.route.path());
        url.query_pairs_mut()
            .append_pair(ApiVersion::PARAMETER, &self.api_version.to_string());
        let (url, request) = (&url, &request);
        retry(deadline, repeat, || async move {
            let authorization = self.credential.authorization(SystemTime::now())?;
            self.transport
                .send(url.clone(), authorization, request)
                .await
        })
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
            .field("credential", &self.credential)
            .field("transport", &self.transport)
            .field("deadline", &self.deadline)
            .field("api_version", &self.api_version)
            .finish_non_exhaustive()
    }
}

/// `https://` and the host: nothing that the name could smuggle into a URL beside host and port.
fn base(host: &str) -> Result<Url, Error> {
    let wrong = || {
        Error::new(
            ErrorKind::InvalidConfiguration,
            "the host name of the connection string is not a host",
        )
    };
    let url =
        Url::parse(&format!("https://{host}/")).map_err(|error| wrong().with_source(error))?;
    let bare = !host.contains(['@', '?', '#', '\\', '/']) && url.path() == "/";
    bare.then_some(url).ok_or_else(wrong)
}
