//! A webhook as an Azure Functions custom handler.

use std::env;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use tokio::net::TcpListener;

use crate::{Error, ErrorKind, Webhook};

impl Webhook {
    /// Serves the Azure Functions host, as its custom handler: on loopback, at the port in `FUNCTIONS_CUSTOMHANDLER_PORT`.
    ///
    /// Set `"customHandler": { "enableForwardingHttpRequest": true, .. }` in `host.json`, so that requests arrive as DPS
    /// sent them, at `/api/{function name}`. The host checks the function key itself where the trigger's `authLevel`
    /// is `function`. Source: azure-docs `azure-functions/functions-custom-handlers.md`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::FunctionsPort`] when the variable is absent or no port, [`ErrorKind::Listen`] when the port cannot
    /// be listened on.
    pub async fn serve_azure_functions(self) -> Result<(), Error> {
        let port = port(env::var_os(PORT))?;
        let cannot_listen = |error: std::io::Error| {
            Error::new(ErrorKind::Listen, format!("cannot listen on port {port}"))
                .with_source(error)
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.get()))
            .await
            .map_err(cannot_listen)?;
        self.serve(listener).await.map_err(cannot_listen)
    }
}

fn port(value: Option<OsString>) -> Result<NonZeroU16, Error> {
    let Some(value) = value else {
        let what =
            format!("{PORT} is not set: the Azure Functions host did not start this program");
        return Err(Error::new(ErrorKind::FunctionsPort, what));
    };
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            let what = format!("{PORT} is {value:?}, which is no port");
            Error::new(ErrorKind::FunctionsPort, what)
        })
}

const PORT: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_from_1_to_65535() {
        assert_eq!(port(Some("65535".into())).unwrap().get(), 65535);
        for junk in ["", "0", "65536", "-1", "http", "80 "] {
            let error = port(Some(junk.into())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FunctionsPort);
            assert!(error.to_string().contains(&format!("{junk:?}")), "{error}");
        }
    }
}
