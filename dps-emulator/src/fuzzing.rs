//! The private parsers, for the targets of `fuzz/`. Compiled only with `--cfg fuzzing`, which `cargo fuzz` sets.

use dps_types::EnrollmentGroupId;
use serde_json::Value;

pub use crate::attest::fuzzing::{Search, certificate, search};
pub use crate::cli::fuzzing::arguments;
pub use crate::endpoint::fuzzing::{control_plane_path, hub_operation, put_instance};
pub use crate::hub::fuzzing::{TwinModel, blob_name};
pub use crate::issuance::fuzzing::check_authority;
pub use crate::issuer::fuzzing::{authority, check_subject};
pub use crate::state::fuzzing::{check_import, check_record};

use crate::journal::{masked, masked_text};
use crate::query::{Continuation, Listing, check, item_count};
use crate::recording::{RecordedExchange, differences};

/// Whether a query is supported.
pub fn is_supported_query(query: &str) -> bool {
    check(query).is_ok()
}

/// The page size of a header.
pub fn page_size(header: &str) -> Option<usize> {
    item_count(Some(header)).ok()
}

/// Reads a continuation token as that of each list. Returns the keys that it continues after, each with the token made from it.
pub fn continuations(token: &str, group: &EnrollmentGroupId) -> Vec<(String, String)> {
    let read = |list| {
        let read = Continuation::parse(token, list).ok()?;
        Some((read.key().to_owned(), read.to_token(list)))
    };
    lists(group).into_iter().filter_map(read).collect()
}

/// The tokens of each list that continue after this key.
pub fn tokens(key: &str, group: &EnrollmentGroupId) -> Vec<String> {
    let token = |list| Continuation::after(key.to_owned()).to_token(list);
    lists(group).into_iter().map(token).collect()
}

fn lists(group: &EnrollmentGroupId) -> [Listing<'_>; 3] {
    [
        Listing::Individuals,
        Listing::Groups,
        Listing::Registrations(group),
    ]
}

/// Reads a recorded exchange, and checks that it is written and masked as it must be.
pub fn check_recording(text: &str) {
    let Ok(exchange) = serde_json::from_str::<RecordedExchange>(text) else {
        return;
    };
    let written = serde_json::to_string(&exchange).expect("JSON");
    let again: RecordedExchange = serde_json::from_str(&written).expect("a written exchange");
    assert_eq!(serde_json::to_string(&again).expect("JSON"), written);

    let body = exchange.request_body.as_ref();
    assert!(differences(body, body).is_empty());
    let _ = exchange.unmasked_body();

    let masked = serde_json::to_string(&exchange.masked()).expect("JSON");
    let again: RecordedExchange = serde_json::from_str(&masked).expect("a masked exchange");
    assert_eq!(
        serde_json::to_string(&again.masked()).expect("JSON"),
        masked
    );
}

/// A document with its secrets masked.
pub fn masked_document(document: Value) -> Value {
    masked(document)
}

/// A text with its secrets masked.
pub fn masked_line(text: &str) -> String {
    masked_text(text)
}
