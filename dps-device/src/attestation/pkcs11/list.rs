//! The private keys of a token, as a list of URIs.

use super::object::{Class, Selector};
use super::token::Token;
use super::uri::Uri;
use crate::error::Error;

impl Token {
    /// Lists the private keys with the `object` and `id` of the URI, or all of them if it has neither. Each result is a URI of the
    /// object alone.
    ///
    /// Keys that cannot be used for TLS are listed as well: [`private_key`](Self::private_key) returns the reason.
    ///
    /// # Errors
    /// [`Signing`](crate::ErrorKind::Signing) if the token fails.
    pub async fn private_keys(&self, uri: &Uri) -> Result<Vec<Uri>, Error> {
        let selector = Selector::new(Class::PrivateKey, uri);
        self.with("list its private keys", move |connection| {
            let session = &connection.session;
            let mut keys = Vec::new();
            for object in selector.all(session)? {
                let unnamed = Selector::every(Class::PrivateKey);
                let named = unnamed.with_full_name(session, object)?;
                keys.push(Uri::of_object(named.label, named.id));
            }
            keys.sort_by_key(Uri::to_string);
            Ok(keys)
        })
        .await
    }
}
