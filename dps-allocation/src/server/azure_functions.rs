//! A webhook as an Azure Functions custom handler.

use std::env;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use tokio::net::TcpListener;

use crate::{Error, ErrorKind, Webhook};

impl Webhook {
    /// Serves the Azure Functions host as its custom handler: on the loopback interface, on the port in
    /// `FUNCTIONS_CUSTOMHANDLER_PORT`.
    ///
    /// Set `"customHandler": { "enableForwardingHttpRequest": true, .. }` in `host.json`, so that requests arrive as DPS
    /// sent them, at `/api/{function name}`. If the trigger's `authLevel` is `function`, the host checks the function key.
    /// Source: azure-docs `azure-functions/functions-custom-handlers.md`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::FunctionsPort`] when the variable is not set or is not a port, [`ErrorKind::Listen`] when the program
    /// cannot listen on the port.
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
        let message =
            format!("{PORT} is not set: start this program through the Azure Functions host");
        return Err(Error::new(ErrorKind::FunctionsPort, message));
    };
    value
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            let message = format!("{PORT} is {value:?}, which is not a port from 1 to 65535");
            Error::new(ErrorKind::FunctionsPort, message)
        })
}

const PORT: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_number_from_1_to_65535() {
        assert_eq!(port(Some("65535".into())).unwrap().get(), 65535);
        for invalid in ["", "0", "65536", "-1", "http", "80 "] {
            let error = port(Some(invalid.into())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FunctionsPort);
            assert!(
                error.to_string().contains(&format!("{invalid:?}")),
                "{error}"
            );
        }
    }
}
