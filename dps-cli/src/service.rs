//! The service client that the options select: a connection string, or Microsoft Entra ID through the environment.

use std::time::Duration;

use clap::Args;
use dps_service::{Proxy, Roots, ServiceClient};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::input::{self, InputFile};

mod entra;

/// How to reach the service API of an instance.
#[derive(Args)]
#[command(next_help_heading = "Service options")]
pub(crate) struct ServiceOptions {
    /// Connection string of a shared access policy. Other users of this machine can see command lines: prefer the variable or
    /// the file
    #[arg(
        long,
        global = true,
        env = "DPS_CONNECTION_STRING",
        hide_env_values = true,
        value_name = "STRING"
    )]
    connection_string: Option<String>,
    /// File with the connection string; - for stdin
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "connection_string"
    )]
    connection_string_file: Option<InputFile>,
    /// Host name of the instance, such as contoso.azure-devices-provisioning.net, with Microsoft Entra ID: AZURE_TENANT_ID,
    /// AZURE_CLIENT_ID, and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE; or DPS_ACCESS_TOKEN
    #[arg(long, global = true, env = "DPS_SERVICE_HOST", value_name = "HOST")]
    service_host: Option<String>,
    #[command(flatten)]
    network: Network,
    /// Longest time of one operation with its retries
    #[arg(long, global = true, value_name = "SECONDS")]
    service_timeout: Option<u64>,
}

/// How to reach any server.
#[derive(Args, Clone, Default)]
pub(crate) struct Network {
    /// Root certificates to trust in place of those of the operating system
    #[arg(long, global = true, env = "DPS_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<InputFile>,
    /// HTTP proxy, such as http://proxy.example:3128
    #[arg(
        long,
        global = true,
        env = "DPS_PROXY",
        hide_env_values = true,
        value_name = "URL"
    )]
    proxy: Option<String>,
}

impl Network {
    /// The trusted roots, and `None` for those of the operating system.
    pub(crate) fn roots(&self, context: &Context) -> Result<Option<Roots>> {
        let of_profile = || context.profile.ca_file.clone().map(InputFile::from);
        let Some(file) = self.ca_file.clone().or_else(of_profile) else {
            return Ok(None);
        };
        let roots = Roots::from_pem(input::read(&file)?).map_err(|error| {
            Failure::usage(format!(
                "{} does not contain root certificates",
                file.display()
            ))
            .because(&error)
        })?;
        Ok(Some(roots))
    }

    pub(crate) fn proxy(&self, context: &Context) -> Result<Option<Proxy>> {
        let Some(proxy) = self.proxy.as_ref().or(context.profile.proxy.as_ref()) else {
            return Ok(None);
        };
        let proxy = proxy
            .parse()
            .map_err(|error| Failure::usage("--proxy is not valid").because(&error))?;
        Ok(Some(proxy))
    }
}

impl ServiceOptions {
    /// The client. An option comes before an environment variable, and that before the profile.
    pub(crate) fn client(&self, context: &Context) -> Result<ServiceClient> {
        let roots = self.network.roots(context)?;
        let proxy = self.network.proxy(context)?;
        let profile = &context.profile;
        let mut client = match self.connection_string(context)? {
            Some(text) => ServiceClient::from_connection_string(text.trim())?,
            None => match self.service_host.as_ref().or(profile.service_host.as_ref()) {
                Some(host) => {
                    let provider = entra::Environment::new(roots.clone(), proxy.clone())?;
                    ServiceClient::from_token_provider(host, provider)?
                }
                None => return Err(unknown()),
            },
        };
        if let Some(roots) = roots {
            client = client.with_roots(roots);
        }
        if let Some(proxy) = proxy {
            client = client.with_proxy(proxy);
        }
        if let Some(seconds) = self.service_timeout {
            client = client.with_timeout(Duration::from_secs(seconds));
        }
        Ok(client)
    }

    fn connection_string(&self, context: &Context) -> Result<Option<zeroize::Zeroizing<String>>> {
        if let Some(file) = &self.connection_string_file {
            return input::read_text(file).map(Some);
        }
        if let Some(text) = &self.connection_string {
            return Ok(Some(text.clone().into()));
        }
        // An explicit host selects Entra, also when the profile has a connection string.
        if self.service_host.is_some() {
            return Ok(None);
        }
        match (
            &context.profile.connection_string,
            &context.profile.connection_string_file,
        ) {
            (Some(text), _) => Ok(Some(text.clone().into())),
            (None, Some(file)) => input::read_text(&file.as_path().into()).map(Some),
            (None, None) => Ok(None),
        }
    }
}

fn unknown() -> Failure {
    Failure::usage("the instance is unknown: there is no connection string and no host name")
        .with_hint("set DPS_CONNECTION_STRING, or use --connection-string-file, --service-host or a profile")
}
