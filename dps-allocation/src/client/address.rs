//! Where a webhook is. The query holds its function key and is never shown.

use std::fmt;

use url::{Host, Url};

use crate::{Error, ErrorKind};

/// A URL as DPS shows it: scheme, host and path, with `?****` for a query. User, password and fragment are left out.
///
/// What is no URL with a host becomes `****`.
///
/// ```
/// use dps_allocation::masked_url;
///
/// assert_eq!(
///     masked_url("https://app.azurewebsites.net/api/HttpTrigger1?code=c2VjcmV0"),
///     "https://app.azurewebsites.net/api/HttpTrigger1?****"
/// );
/// ```
pub fn masked_url(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) => masked(&url),
        Err(_) => MASK.to_owned(),
    }
}

/// Whether this is a URL that a webhook can have, as [`WebhookClient::caller`](super::WebhookClient::caller) will check
/// it. Nothing is connected.
///
/// # Errors
///
/// [`ErrorKind::InvalidUrl`] and [`ErrorKind::InsecureUrl`].
pub fn check_webhook_url(url: &str) -> Result<(), Error> {
    Address::parse(url).map(drop)
}

/// A URL that may be called: `https`, or `http` to this machine.
#[derive(Clone)]
pub(super) struct Address(Url);

impl Address {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        // The parser's error is dropped: it says little, and must not say more one day.
        let url = Url::parse(text)
            .map_err(|_| Error::new(ErrorKind::InvalidUrl, "the webhook's URL is not one"))?;
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_loopback(&url) => Ok(Self(url)),
            "http" => Err(Error::new(
                ErrorKind::InsecureUrl,
                format!(
                    "{} must be https: only this machine is called by http",
                    masked(&url)
                ),
            )),
            scheme => Err(Error::new(
                ErrorKind::InvalidUrl,
                format!("the webhook's URL is {scheme}, not https"),
            )),
        }
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&masked(&self.0))
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

fn masked(url: &Url) -> String {
    let Some(host) = url.host() else {
        return MASK.to_owned();
    };
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let query = url.query().map(|_| format!("?{MASK}")).unwrap_or_default();
    format!("{}://{host}{port}{}{query}", url.scheme(), url.path())
}

const MASK: &str = "****";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_taken_anywhere_and_http_on_this_machine() {
        for good in [
            "https://app.azurewebsites.net/api/f?code=k",
            "https://10.0.0.1:7071/",
            "http://localhost:7071/api/f?code=k",
            "http://LOCALHOST/",
            "http://127.0.0.1/",
            "http://127.9.9.9:1/",
            "http://[::1]:7071/",
        ] {
            assert!(Address::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "http://example.com/?code=s3cret",
            "http://localhost.example.com/?code=s3cret",
            "http://127.0.0.1.example.com/?code=s3cret",
            "http://localhost@example.com/?code=s3cret",
            "http://10.0.0.1/?code=s3cret",
            "http://0.0.0.0/?code=s3cret",
            "http://[::]/?code=s3cret",
        ] {
            let error = Address::parse(bad).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InsecureUrl, "{bad}");
            assert!(
                !format!("{error} {error:?}").contains("s3cret"),
                "{error:?}"
            );
        }
        for bad in [
            "",
            "s3cret",
            "/api?code=s3cret",
            "ftp://localhost/s3cret",
            "https://?code=s3cret",
        ] {
            let error = Address::parse(bad).expect_err(bad);
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{bad}");
            assert!(
                !format!("{error} {error:?}").contains("s3cret"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_url_is_shown_as_dps_shows_it() {
        for (url, shown) in [
            ("https://h.net/api/f?code=k&x=y", "https://h.net/api/f?****"),
            ("https://h.net/api/f", "https://h.net/api/f"),
            ("https://h.net/api/f#k", "https://h.net/api/f"),
            ("http://localhost:7071/f?k", "http://localhost:7071/f?****"),
            ("http://[::1]:7071/f?k", "http://[::1]:7071/f?****"),
            ("https://user:k@h.net/f", "https://h.net/f"),
            ("not a url ?code=k", "****"),
            ("mailto:k", "****"),
        ] {
            assert_eq!(masked_url(url), shown);
        }
    }
}
