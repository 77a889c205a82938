//! ETags in the service's format: base64 of a quoted storage version that ends with the time of the write.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_types::{ETag, Timestamp};

use crate::random::Random;

/// A new ETag, for example base64 of `"69003552-0000-0300-0000-630fda8a0000"` with its quotes.
#[expect(clippy::expect_used, reason = "base64 is printable ASCII")]
pub(crate) fn new_version(now: Timestamp, random: &Random) -> ETag {
    let random = random.uuid().as_fields().0;
    let seconds = now.unix_seconds() & 0xffff_ffff;
    let stored = format!("\"{random:08x}-0000-0300-0000-{seconds:08x}0000\"");
    ETag::new(STANDARD.encode(stored)).expect("a valid ETag")
}

/// The storage version with its quotes, as the service sends it to a webhook.
pub(crate) fn storage_form(etag: &ETag) -> Option<ETag> {
    let stored = String::from_utf8(STANDARD.decode(etag.as_str()).ok()?).ok()?;
    ETag::new(stored).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ETag of a registration record in the documentation.
    #[test]
    fn the_documented_etag_has_the_documented_storage_form() {
        let etag =
            ETag::new("IjY5MDAzNTUyLTAwMDAtMDMwMC0wMDAwLTYzMGZkYThhMDAwMCI=").expect("valid");
        assert_eq!(
            storage_form(&etag).expect("base64").as_str(),
            "\"69003552-0000-0300-0000-630fda8a0000\""
        );
    }

    #[test]
    fn etags_end_with_their_time_and_differ() {
        let now: Timestamp = "2022-08-31T22:02:50Z".parse().expect("valid");
        let random = Random::new(None);
        let (one, other) = (new_version(now, &random), new_version(now, &random));
        assert_ne!(one, other);
        assert!(
            storage_form(&one)
                .expect("base64")
                .as_str()
                .ends_with("-630fda8a0000\"")
        );
    }
}
