//! Shows the URL of a webhook without its function key.

/// Returns the URL as DPS shows it: scheme, host, port and path, with `?****` for a query. User, password and fragment
/// are left out.
///
/// A text that is not a URL with a host becomes `****`, because it could be anything, such as a key alone.
///
/// ```
/// assert_eq!(
///     dps_types::mask_url("https://app.azurewebsites.net/api/HttpTrigger1?code=c2VjcmV0"),
///     "https://app.azurewebsites.net/api/HttpTrigger1?****"
/// );
/// ```
pub fn mask_url(url: &str) -> String {
    masked(url).unwrap_or_else(|| MASK.to_owned())
}

fn masked(url: &str) -> Option<String> {
    let url = url.split('#').next()?.trim();
    let (address, query) = match url.split_once('?') {
        Some((address, _)) => (address, "?****"),
        None => (url, ""),
    };
    let (scheme, rest) = address.split_once("://")?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    // A parser of URLs reads a backslash as a slash.
    let (authority, path) = rest.split_at(rest.find(['/', '\\']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next()?;
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (host, ""),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte);
    // An `@` in the path may belong to a password with a slash in it.
    let valid = !scheme.is_empty()
        && scheme.bytes().all(is_scheme)
        && !name.is_empty()
        && name.bytes().all(is_name)
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && !path.contains('@');
    valid.then(|| format!("{scheme}://{host}{path}{query}"))
}

const MASK: &str = "****";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_masked_url_has_no_query_user_or_password() {
        for (url, shown) in [
            ("https://h.net/api/f?code=k&x=y", "https://h.net/api/f?****"),
            ("https://h.net/api/f", "https://h.net/api/f"),
            ("https://h.net", "https://h.net"),
            ("https://h.net?k", "https://h.net?****"),
            ("https://h.net/api/f#k", "https://h.net/api/f"),
            (" https://h.net/api/f #k", "https://h.net/api/f"),
            ("https://h.net/api/f#k?k", "https://h.net/api/f"),
            ("http://localhost:7071/f?k", "http://localhost:7071/f?****"),
            ("http://[::1]:7071/f?k", "http://[::1]:7071/f?****"),
            ("https://user:k@h.net/f", "https://h.net/f"),
            ("https://user:k%40@h.net/f?k", "https://h.net/f?****"),
            ("https://user:k@k@h.net/f", "https://h.net/f"),
            ("https://user:k\\@h.net/f", "****"),
            ("https://user:k/k@h.net/f", "****"),
            ("https://user:k k@h.net/f", "https://h.net/f"),
            (" https://h.net/f?k\n", "https://h.net/f?****"),
            ("not a url ?code=k", "****"),
            ("https://user:k?k@h.net/f", "****"),
            ("mailto:k", "****"),
            ("https://?code=k", "****"),
            ("https://user:k@?code=k", "****"),
            ("k", "****"),
            ("", "****"),
        ] {
            assert_eq!(mask_url(url), shown, "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_password_and_no_query_is_shown(
            user in "[a-z@:]{0,8}",
            before in "[!-~]{0,4}",
            after in "[!-~]{0,4}",
            query in "[!-~]{0,8}",
        ) {
            // After these characters the secret would be in the path, which DPS shows.
            prop_assume!(!before.contains(['?', '#', '/', '\\']));
            let secret = "S3CRET";
            let url = format!("https://{user}:{before}{secret}{after}@h.net/f?{query}{secret}");
            prop_assert!(!mask_url(&url).contains(secret), "{}", mask_url(&url));
        }
    }
}
