//! The book has every error code of the service with the hint that the crates print.

use dps_types::ErrorCode;

const TROUBLESHOOTING: &str = include_str!("../../docs/book/src/troubleshooting.md");

#[test]
fn every_known_error_code_is_in_the_book_as_it_is_printed() {
    for code in ErrorCode::KNOWN {
        let row = format!("| `{code}` | {} |", code.hint().unwrap());
        assert!(TROUBLESHOOTING.contains(&row), "missing: {row}");
    }
}
