//! The URL of a database: `postgres://user:password@host:port/database?parameter=value`.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use url::{Host, Url};
use zeroize::Zeroizing;

const DEFAULT_SCHEMA: &str = "public";
const DEFAULT_CONNECTIONS: usize = 16;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_PORT: u16 = 5432;

/// The limits of `max_connections`, `timeout` and `connect_timeout`.
const MAX_CONNECTIONS: u64 = 1000;
const MAX_SECONDS: u64 = 600;

/// The longest name of a schema: PostgreSQL's limit for the name of the channel, which has the prefix `dps_`, is 63.
const MAX_NAME: usize = 59;

const PARAMETERS: &str = "application_name, connect_timeout, host, max_connections, schema, sslmode, sslrootcert, timeout";

/// The address of a PostgreSQL database, with the options of the connections to it.
///
/// It is parsed from `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?PARAMETER=VALUE&…]`; `postgresql` is also a valid scheme.
/// Special characters are percent-encoded. The parameters are:
///
/// | Parameter | Meaning | Default |
/// |---|---|---|
/// | `sslmode` | `disable`, `prefer`, `require` (encrypted, the server is not verified) or `verify-full` | `prefer` |
/// | `sslrootcert` | PEM file with the trusted roots, for `verify-full` | the platform's roots |
/// | `schema` | the schema of the tables, so that several emulators can use one database | `public` |
/// | `max_connections` | the largest number of connections, 1 to 1000 | 16 |
/// | `timeout` | the longest time of a call, 1 to 600 seconds | 10 |
/// | `connect_timeout` | the longest time to open a connection, 1 to 600 seconds | 5 |
/// | `host` | folder of the server's Unix socket, in place of the host; its path begins with `/` | |
/// | `application_name` | the name in PostgreSQL's views and log | `dps-emulator` |
///
/// `Debug` and `Display` show `***` in place of the password.
#[derive(Clone)]
pub struct PostgresUrl {
    pub(super) config: Config,
    pub(super) verification: Verification,
    pub(super) schema: SchemaName,
    pub(super) max_connections: usize,
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    shown: String,
}

/// How the certificate of the server is verified.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Verification {
    None,
    /// Its name and its chain, to a root in this file or of the platform.
    Full(Option<PathBuf>),
}

/// The name of a schema that needs no quotes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SchemaName(String);

impl SchemaName {
    /// The name in a statement.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SchemaName {
    type Err = ParsePostgresUrlError;

    fn from_str(name: &str) -> Result<Self, ParsePostgresUrlError> {
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let reserved = name.starts_with("pg_");
        match starts && !reserved && name.len() <= MAX_NAME && name.chars().all(rest) {
            true => Ok(Self(name.to_owned())),
            false => Err(error(
                "the parameter schema must be a name of at most 59 lower-case letters, digits and underscores that begins with \
                 neither a digit nor pg_",
            )),
        }
    }
}

/// Stands in a URL without a host. No host has this name (RFC 6761).
const NO_HOST: &str = "no-host.invalid";

impl PostgresUrl {
    /// The schema of the tables.
    pub fn schema(&self) -> &str {
        &self.schema.0
    }
}

impl FromStr for PostgresUrl {
    type Err = ParsePostgresUrlError;

    fn from_str(text: &str) -> Result<Self, ParsePostgresUrlError> {
        // The text is not repeated in an error, because it may contain a password.
        let text = with_host(text);
        let url = Url::parse(&text).map_err(|_| error("it is not a valid URL"))?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            return Err(error("it must start with postgres://"));
        }
        if url.fragment().is_some() {
            return Err(error("it must not have a fragment: encode # as %23"));
        }
        let parameters = Parameters::read(&url)?;
        let mut config = Config::new();
        let user = decoded(url.username(), "the user")?;
        if user.is_empty() {
            return Err(error("it must have a user"));
        }
        config.user(&user);
        if let Some(password) = url.password() {
            config.password(percent_decode_str(password).collect::<Vec<u8>>());
        }
        let database = decoded(url.path().trim_start_matches('/'), "the database")?;
        if database.is_empty() {
            return Err(error("it must have the name of a database"));
        }
        config.dbname(&database);
        let port = url.port().unwrap_or(DEFAULT_PORT);
        let host = host(&url, parameters.host)?;
        config.host(&host).port(port);
        config.ssl_mode(parameters.ssl_mode);
        config.application_name(parameters.application_name);
        config
            .connect_timeout(parameters.connect_timeout)
            .tcp_user_timeout(parameters.timeout)
            .keepalives_idle(parameters.timeout)
            .keepalives_interval(parameters.timeout)
            .keepalives_retries(3);
        let password = url.password().map_or("", |_| ":***");
        Ok(Self {
            config,
            verification: parameters.verification,
            schema: parameters.schema,
            max_connections: parameters.max_connections,
            timeout: parameters.timeout,
            connect_timeout: parameters.connect_timeout,
            shown: format!("postgres://{user}{password}@{host}:{port}/{database}"),
        })
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresUrl").field(&self.shown).finish()
    }
}

/// The text with [`NO_HOST`] if it has a user and no host, which only PostgreSQL's URLs may have.
fn with_host(text: &str) -> Zeroizing<String> {
    let authority = text.find("://").map_or(0, |scheme| scheme + 3);
    let rest = text.get(authority..).unwrap_or_default();
    let end = rest.find(['/', '?', '#']);
    let end = end.map_or(text.len(), |end| authority + end);
    let (before, after) = text.split_at(end);
    let host = match before.ends_with('@') {
        true => NO_HOST,
        false => "",
    };
    Zeroizing::new(format!("{before}{host}{after}"))
}

/// The host, or the folder of a Unix socket.
fn host(url: &Url, folder: Option<String>) -> Result<String, ParsePostgresUrlError> {
    let host = match url.host() {
        None | Some(Host::Domain(NO_HOST)) => String::new(),
        Some(Host::Domain(name)) => decoded(name, "the host")?,
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
    };
    match (folder, host.is_empty()) {
        (Some(folder), true) if folder.starts_with('/') => Ok(folder),
        (Some(_), _) => Err(error(
            "the parameter host must be an absolute path, in a URL without a host",
        )),
        (None, false) => Ok(host),
        (None, true) => Err(error("it must have a host")),
    }
}

fn decoded(text: &str, what: &str) -> Result<String, ParsePostgresUrlError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) if !decoded.contains('\0') => Ok(decoded.into_owned()),
        _ => Err(error(format!("{what} is not valid text"))),
    }
}

/// The part after the question mark.
struct Parameters {
    ssl_mode: SslMode,
    verification: Verification,
    schema: SchemaName,
    max_connections: usize,
    timeout: Duration,
    connect_timeout: Duration,
    host: Option<String>,
    application_name: String,
}

impl Parameters {
    fn read(url: &Url) -> Result<Self, ParsePostgresUrlError> {
        let mut it = Self {
            ssl_mode: SslMode::Prefer,
            verification: Verification::None,
            schema: DEFAULT_SCHEMA.parse()?,
            max_connections: DEFAULT_CONNECTIONS,
            timeout: DEFAULT_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            host: None,
            application_name: "dps-emulator".to_owned(),
        };
        let mut roots = None;
        let mut seen = BTreeSet::new();
        for (name, value) in url.query_pairs() {
            if value.contains('\0') {
                return Err(error("a parameter is not valid text"));
            }
            match &*name {
                "sslmode" => (it.ssl_mode, it.verification) = ssl_mode(&value)?,
                "sslrootcert" => roots = Some(PathBuf::from(&*value)),
                "schema" => it.schema = value.parse()?,
                "max_connections" => {
                    it.max_connections = number(&name, &value, MAX_CONNECTIONS)? as usize;
                }
                "timeout" => it.timeout = seconds(&name, &value)?,
                "connect_timeout" => it.connect_timeout = seconds(&name, &value)?,
                "host" => it.host = Some(value.into_owned()),
                "application_name" => it.application_name = value.into_owned(),
                // Its name is not repeated: it may be the end of a password with a question mark.
                _ => {
                    return Err(error(format!(
                        "it has an unknown parameter; the parameters are {PARAMETERS}"
                    )));
                }
            }
            if !seen.insert(name.to_string()) {
                return Err(error(format!("the parameter {name} occurs twice")));
            }
        }
        if let Some(file) = roots {
            match &mut it.verification {
                Verification::Full(roots) => *roots = Some(file),
                Verification::None => {
                    return Err(error(
                        "the parameter sslrootcert requires sslmode=verify-full",
                    ));
                }
            }
        }
        Ok(it)
    }
}

fn ssl_mode(mode: &str) -> Result<(SslMode, Verification), ParsePostgresUrlError> {
    match mode {
        "disable" => Ok((SslMode::Disable, Verification::None)),
        "prefer" => Ok((SslMode::Prefer, Verification::None)),
        "require" => Ok((SslMode::Require, Verification::None)),
        "verify-full" => Ok((SslMode::Require, Verification::Full(None))),
        _ => Err(error(
            "the parameter sslmode must be disable, prefer, require or verify-full",
        )),
    }
}

fn seconds(name: &str, value: &str) -> Result<Duration, ParsePostgresUrlError> {
    number(name, value, MAX_SECONDS).map(Duration::from_secs)
}

/// A number from 1 to `most`.
fn number(name: &str, value: &str, most: u64) -> Result<u64, ParsePostgresUrlError> {
    match value.parse() {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => Err(error(format!(
            "the parameter {name} must be a number from 1 to {most}"
        ))),
    }
}

/// Error from parsing a [`PostgresUrl`]. The message does not contain the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePostgresUrlError {
    reason: String,
}

impl fmt::Display for ParsePostgresUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the PostgreSQL URL is not valid: {}", self.reason)
    }
}

impl Error for ParsePostgresUrlError {}

fn error(reason: impl Into<String>) -> ParsePostgresUrlError {
    ParsePostgresUrlError {
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
