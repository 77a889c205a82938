//! Percent-encoding: one way to encode, any way to decode.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::ParseError;

/// All but the characters that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Encodes a text for a path segment, a query value or a SAS field: everything except letters, digits and `-._~`.
///
/// Path and signature use this encoder: an id with `:` must be the same in both.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Decodes `%XX` of either case. `None` when the bytes are not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

/// The value of a query parameter, decoded; of several, the first whose value is UTF-8. The name is compared without regard to case.
pub fn query_parameter(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        decode(key)?
            .eq_ignore_ascii_case(name)
            .then(|| decode(value))?
    })
}

/// The value of a query parameter that may occur once, decoded. The name is compared without regard to case. `None` also
/// when the value is not UTF-8.
///
/// # Errors
/// If the parameter occurs more than once: which value counts would depend on the reader.
pub fn single_query_parameter(query: &str, name: &str) -> Result<Option<String>, ParseError> {
    Ok(single(query, name)?.and_then(decode))
}

/// The request id (`$rid`), exactly as it is written, so that it can be returned unchanged.
pub(super) fn mark(query: &str) -> Result<String, &'static str> {
    let rid = single(query, "$rid").map_err(|_| "its $rid occurs more than once")?;
    let rid = rid.ok_or("it has no $rid")?;
    match encode_raw(rid) == rid {
        true => Ok(rid.to_owned()),
        false => Err("its $rid holds a character that a topic cannot"),
    }
}

/// The status in a topic: three digits, as in HTTP.
pub(super) fn http_status(text: &str) -> Result<u16, &'static str> {
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|status| digits && *status >= 100)
        .ok_or("its status is not one of HTTP")
}

/// The value of a query parameter as it is written, if it does not occur more than once.
fn single<'a>(query: &'a str, name: &str) -> Result<Option<&'a str>, ParseError> {
    let mut values = query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        decode(key)?.eq_ignore_ascii_case(name).then_some(value)
    });
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(ParseError::new(
            "query parameter",
            "it occurs more than once",
        )),
    }
}

/// Encodes only characters that would end the value or that a topic cannot hold.
pub(super) fn encode_raw(text: &str) -> String {
    let ends = |c: char| c.is_control() || matches!(c, '&' | '#' | '+');
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        match ends(c) {
            true => written.extend(utf8_percent_encode(
                c.encode_utf8(&mut [0; 4]),
                NON_ALPHANUMERIC,
            )),
            false => written.push(c),
        }
    }
    written
}
