//! Parses the fields of a SAS token as Microsoft's published parser does.
//!
//! How DPS itself parses a token is not published. The rules here are inferred from the class
//! `SharedAccessSignature` of the provisioning service client in azure-iot-sdk-csharp. Only this module implements
//! them:
//!
//! * The scheme, one white space, the fields. White space between the fields is refused.
//! * Fields are separated by `&`; empty ones are skipped, unknown ones are ignored.
//! * Names are compared without regard to case. A name that appears twice is refused, an unknown one too.
//! * `sr` stays encoded, since the signature covers its text. All other values are form-decoded: a `+` is a space.
//! * `se` is a floating-point number of seconds since 1970, up to the end of the year 9999.
//!
//! Two rules are more lenient: the scheme is compared without regard to case, as HTTP does with schemes, and `=` may
//! occur in a value, since azure-iot-hub for Python does not encode `sig`.

use std::time::{Duration, SystemTime};

use crate::ParseError;

const SCHEME: &str = "SharedAccessSignature";
/// The first second that .NET's `DateTime` cannot hold: the start of the year 10000.
const END_OF_TIME: f64 = 253_402_300_800.0;

/// The fields of a token, decoded except for `sr`.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) sr: Option<String>,
    pub(super) sig: Option<String>,
    pub(super) se: Option<String>,
    pub(super) skn: Option<String>,
}

impl Fields {
    pub(super) fn parse(text: &str) -> Result<Self, ParseError> {
        let fields = match text.trim().split_once(char::is_whitespace) {
            Some((scheme, fields)) if scheme.eq_ignore_ascii_case(SCHEME) => fields,
            _ => return Err(invalid("it does not begin with SharedAccessSignature")),
        };
        if fields.contains(char::is_whitespace) {
            return Err(invalid("there is white space in or between the fields"));
        }
        let mut read = Self::default();
        let mut names: Vec<String> = Vec::new();
        for field in fields.split('&').filter(|field| !field.is_empty()) {
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| invalid("a field has no '='"))?;
            let name = name.to_ascii_lowercase();
            match name.as_str() {
                "sr" => read.sr = Some(value.to_owned()),
                "sig" => read.sig = Some(form_decoded(value)),
                "se" => read.se = Some(form_decoded(value)),
                "skn" => read.skn = Some(form_decoded(value)),
                _ => {}
            }
            if names.contains(&name) {
                return Err(invalid("a field appears twice"));
            }
            names.push(name);
        }
        Ok(read)
    }
}

/// Parses `se`.
pub(super) fn expiry(se: &str) -> Result<SystemTime, ParseError> {
    let number: f64 = se
        .trim()
        .replace(',', "")
        .parse()
        .map_err(|_| invalid("se is not a number of seconds"))?;
    if !number.is_finite() {
        return Err(invalid("se is not a number of seconds"));
    }
    if number >= END_OF_TIME {
        return Err(invalid(
            "se is after the year 9999: it is a number of seconds since 1970, not of milliseconds",
        ));
    }
    Ok(moment(number))
}

/// The moment this number of seconds after 1970: at least 1970, at most the end of the year 9999.
pub(super) fn moment(seconds: f64) -> SystemTime {
    let seconds = seconds.clamp(0.0, END_OF_TIME);
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

pub(super) fn invalid(reason: &'static str) -> ParseError {
    ParseError::new("SAS token", reason)
}

fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}
