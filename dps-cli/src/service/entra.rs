//! Tokens of Microsoft Entra ID with the credentials of the environment: a client secret, a federated token, or a token.
//!
//! `azure_identity` would link a second TLS provider, and only one request is needed. Source of the requests: Microsoft identity
//! platform, "OAuth 2.0 client credentials flow", first case (shared secret) and third case (federated credential).

use std::env;
use std::error::Error as StdError;
use std::fs;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use dps_service::{AccessToken, Proxy, Roots, TokenProvider};
use reqwest::StatusCode;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::failure::{Failure, Result};
use crate::http;

/// The authority of the public cloud. `AZURE_AUTHORITY_HOST` names another one.
const AUTHORITY: &str = "https://login.microsoftonline.com";
const SCOPE: &str = dps_types::protocol::service::ENTRA_SCOPE;
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The variables that select the credential.
pub(super) struct Environment {
    http: reqwest::Client,
    credential: Credential,
}

enum Credential {
    /// `DPS_ACCESS_TOKEN`, for example from `az account get-access-token`.
    Token(Zeroizing<String>),
    /// `AZURE_CLIENT_SECRET`.
    Secret(Application, Zeroizing<String>),
    /// `AZURE_FEDERATED_TOKEN_FILE`: workload identity. The file changes, so it is read each time.
    Federated(Application, String),
}

struct Application {
    url: String,
    client_id: String,
}

/// The answer with a token.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

/// The answer of a refused request (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Refused {
    error: String,
    error_description: Option<String>,
}

impl Environment {
    pub(super) fn new(roots: Option<Roots>, proxy: Option<Proxy>) -> Result<Self> {
        // The roots of `--ca-file` are those of the instance; an own authority uses the same.
        let own_roots = roots.filter(|_| env::var_os("AZURE_AUTHORITY_HOST").is_some());
        Ok(Self {
            http: http::client(own_roots, proxy.as_ref())?,
            credential: Credential::from_environment()?,
        })
    }
}

impl Credential {
    fn from_environment() -> Result<Self> {
        if let Some(token) = variable("DPS_ACCESS_TOKEN") {
            return Ok(Self::Token(token.into()));
        }
        let application = || {
            let missing = |name| {
                Failure::usage(format!("{name} is not set"))
                    .with_hint("Microsoft Entra ID needs AZURE_TENANT_ID, AZURE_CLIENT_ID, and a secret or a federated token file")
            };
            let tenant = variable("AZURE_TENANT_ID").ok_or_else(|| missing("AZURE_TENANT_ID"))?;
            let client_id =
                variable("AZURE_CLIENT_ID").ok_or_else(|| missing("AZURE_CLIENT_ID"))?;
            let authority =
                variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.to_owned());
            if !authority.starts_with("https://") {
                return Err(Failure::usage(format!(
                    "AZURE_AUTHORITY_HOST is {authority}, which is not an https URL"
                )));
            }
            let url = format!(
                "{}/{tenant}/oauth2/v2.0/token",
                authority.trim_end_matches('/')
            );
            Ok::<_, Failure>(Application { url, client_id })
        };
        if let Some(secret) = variable("AZURE_CLIENT_SECRET") {
            return Ok(Self::Secret(application()?, secret.into()));
        }
        if let Some(file) = variable("AZURE_FEDERATED_TOKEN_FILE") {
            return Ok(Self::Federated(application()?, file));
        }
        Err(
            Failure::usage("there are no credentials of Microsoft Entra ID in the environment")
                .with_hint(
                    "set AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE, or DPS_ACCESS_TOKEN",
                ),
        )
    }
}

#[async_trait]
impl TokenProvider for Environment {
    async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
        let (application, assertion, name) = match &self.credential {
            Credential::Token(token) => {
                let later = SystemTime::now() + Duration::from_secs(3600);
                return Ok(AccessToken::new(token.as_str(), later));
            }
            Credential::Secret(application, secret) => {
                (application, secret.clone(), "client_secret")
            }
            Credential::Federated(application, file) => {
                let token = Zeroizing::new(fs::read_to_string(file)?.trim().to_owned());
                (application, token, "client_assertion")
            }
        };
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", &application.client_id),
            ("scope", SCOPE),
            (name, &assertion),
        ];
        if name == "client_assertion" {
            form.push(("client_assertion_type", ASSERTION));
        }
        let body = http::form(&form);
        let request = self
            .http
            .post(&application.url)
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = request
            .body(body)
            .send()
            .await
            .map_err(reqwest::Error::without_url)?;
        let status = answer.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            answer
                .error_for_status_ref()
                .map_err(reqwest::Error::without_url)?;
        }
        let bytes = http::body(answer).await?;
        if !status.is_success() {
            return Err(match serde_json::from_slice::<Refused>(&bytes) {
                Ok(refused) => format!(
                    "{}: {}",
                    refused.error,
                    refused.error_description.unwrap_or_default()
                ),
                Err(_) => format!("the token endpoint answered with status {status}"),
            }
            .into());
        }
        let granted: Granted = serde_json::from_slice(&bytes)
            .map_err(|_| "the answer of the token endpoint is not valid")?;
        let expires = SystemTime::now() + Duration::from_secs(granted.expires_in.min(86_400));
        Ok(AccessToken::new(granted.access_token, expires))
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
