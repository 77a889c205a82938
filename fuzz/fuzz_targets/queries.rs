//! Queries of the service API: the query itself, the page size, and continuation tokens, each of which is valid for one list.
#![no_main]

use std::sync::LazyLock;

use dps_emulator::fuzzing::{continuations, is_supported_query, page_size, tokens};
use dps_types::EnrollmentGroupId;
use libfuzzer_sys::fuzz_target;

static GROUP: LazyLock<EnrollmentGroupId> = LazyLock::new(|| "group-1".parse().expect("an id"));

fuzz_target!(|text: &str| {
    let is_supported = is_supported_query(text);
    for same in [text.to_ascii_uppercase(), text.to_ascii_lowercase(), format!("\t {text}\n")] {
        assert_eq!(is_supported_query(&same), is_supported, "{same:?}");
    }
    if is_supported {
        assert!(text.chars().all(|c| c.is_ascii_alphabetic() || c == '*' || c.is_whitespace()));
    }
    if let Some(size) = page_size(text) {
        assert!((1..=1000).contains(&size));
    }

    let read = continuations(text, &GROUP);
    assert!(read.len() <= 1);
    for (_, token) in read {
        assert_eq!(token, text.trim());
    }
    for token in tokens(text, &GROUP) {
        assert_eq!(continuations(&token, &GROUP), [(text.to_owned(), token.clone())]);
    }
});
