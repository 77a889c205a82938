//! URLs of webhooks: which are valid, and how one is shown without its function key.

use std::fmt;

use url::{Host, Url};

use crate::{Error, ErrorKind};

pub use dps_types::mask_url as mask;

/// Checks that this is a valid URL for a webhook, as [`WebhookClient::caller`](crate::WebhookClient::caller) does.
/// It opens no connection.
///
/// # Errors
///
/// [`ErrorKind::InvalidUrl`] and [`ErrorKind::InsecureUrl`].
pub fn check(url: &str) -> Result<(), Error> {
    WebhookUrl::parse(url).map(drop)
}

/// A URL that may be called: `https`, or `http` on this machine.
#[derive(Clone)]
pub(crate) struct WebhookUrl(Url);

impl WebhookUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        // The parser's error is not kept as the source: it might repeat the text, which contains the function key.
        let url = Url::parse(text).map_err(|_| {
            let message = "the webhook URL is not a valid URL such as https://host/path?code=key";
            Error::new(ErrorKind::InvalidUrl, message)
        })?;
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_loopback(&url) => Ok(Self(url)),
            "http" => {
                let shown = mask(url.as_str());
                let message = format!("{shown} must be https: http is allowed only on localhost");
                Err(Error::new(ErrorKind::InsecureUrl, message))
            }
            scheme => {
                let message = format!("the scheme of the webhook URL is {scheme}, not https");
                Err(Error::new(ErrorKind::InvalidUrl, message))
            }
        }
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask(self.0.as_str()))
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_valid_anywhere_and_http_on_this_machine() {
        for valid in [
            "https://app.azurewebsites.net/api/f?code=k",
            "https://10.0.0.1:7071/",
            "http://localhost:7071/api/f?code=k",
            "http://LOCALHOST/",
            "http://127.0.0.1/",
            "http://127.9.9.9:1/",
            "http://[::1]:7071/",
        ] {
            assert!(check(valid).is_ok(), "{valid}");
        }
        for insecure in [
            "http://example.com/?code=s3cret",
            "http://localhost.example.com/?code=s3cret",
            "http://127.0.0.1.example.com/?code=s3cret",
            "http://localhost@example.com/?code=s3cret",
            "http://10.0.0.1/?code=s3cret",
            "http://0.0.0.0/?code=s3cret",
            "http://[::]/?code=s3cret",
        ] {
            assert_refused(insecure, ErrorKind::InsecureUrl);
        }
        for invalid in [
            "",
            "s3cret",
            "/api?code=s3cret",
            "ftp://localhost/s3cret",
            "https://?code=s3cret",
        ] {
            assert_refused(invalid, ErrorKind::InvalidUrl);
        }
    }

    fn assert_refused(url: &str, kind: ErrorKind) {
        let error = check(url).expect_err(url);
        assert_eq!(error.kind(), kind, "{url}");
        assert!(
            !format!("{error:#} {error:?}").contains("s3cret"),
            "{error:?}"
        );
    }
}
