//! Shows the URL of a webhook without its function key.

/// Returns the URL as DPS shows it: scheme, host, port and path, with `?****` for a query. User, password and fragment
/// are left out.
///
/// A text that is not a URL with a host becomes `****`, because it could be anything, such as a key alone. So does a URL with an `@`
/// after its host, which may belong to a password.
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
    // An `@` after the authority may belong to a password with a `/`, `?` or `#` in it.
    let after_scheme = url.split_once("://")?.1;
    let after_authority = after_scheme.split_once(['/', '\\', '?', '#']);
    if after_authority.is_some_and(|(_, rest)| rest.contains('@')) {
        return None;
    }
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
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
    let is_address = |byte: u8| byte.is_ascii_alphanumeric() || b".:%".contains(&byte);
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let is_host = match address {
        Some(address) => address.bytes().all(is_address),
        None => name.bytes().all(is_name),
    };
    let valid = !scheme.is_empty()
        && scheme.bytes().all(is_scheme)
        && !name.is_empty()
        && is_host
        && port.bytes().all(|byte| byte.is_ascii_digit());
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
            ("https://user:1234?@h.net/f", "****"),
            ("https://user:1234#@h.net/f", "****"),
            ("https://:k:#@h.net/f?k", "****"),
            ("https://user:k:443/f", "****"),
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
            // After `?`, `#`, `/` or a backslash the secret would be in the path, which DPS shows.
            before in "[!-\"$-.0->@-\\[\\]-~]{0,4}",
            after in "[!-~]{0,4}",
            query in "[!-~]{0,8}",
        ) {
            let secret = "S3CRET";
            let url = format!("https://{user}:{before}{secret}{after}@h.net/f?{query}{secret}");
            prop_assert!(!mask_url(&url).contains(secret), "{}", mask_url(&url));
        }
    }
}
