//! The book has every error code of the service with the hint that the crates print, and every error kind of each crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use dps_types::ErrorCode;

const TROUBLESHOOTING: &str = include_str!("../../docs/book/src/troubleshooting.md");

#[test]
fn every_known_error_code_is_in_the_book_as_it_is_printed() {
    for code in ErrorCode::KNOWN {
        let row = format!("| `{code}` | {} |", code.hint().unwrap());
        assert!(TROUBLESHOOTING.contains(&row), "missing: {row}");
    }
}

/// A reader who copies both blocks of the book has the example, whose test is run.
#[test]
fn the_policy_of_the_book_is_the_example() {
    let example = include_str!("../allocate_by_model.rs");
    let (_, example) = example.split_once('\n').unwrap();
    let page = include_str!("../../docs/book/src/allocation-policies.md");
    let program = page.split("```rust,no_run\n").nth(1).unwrap();
    let tests = page.split("```rust\n").nth(1).unwrap();
    let block = |text: &'static str| text.split("```").next().unwrap();
    assert_eq!(example, format!("{}\n{}", block(program), block(tests)));
}

/// A table of kinds follows the name of its types, in a heading or in the first row.
#[test]
fn every_error_kind_is_in_the_book_and_the_book_has_no_other() {
    let expected = kinds_in_the_public_interface().unwrap();
    assert!(expected.len() > 6, "{expected:?}");
    let mut types = Vec::new();
    let mut documented: BTreeMap<Vec<&str>, BTreeSet<&str>> = BTreeMap::new();
    for line in TROUBLESHOOTING.lines() {
        let cell = line.strip_prefix("| ").and_then(|row| row.split(" | ").next());
        let is_type = |word: &&str| expected.contains_key(*word);
        let named: Vec<_> = code(cell.unwrap_or(line)).filter(is_type).collect();
        match (cell, named.is_empty()) {
            (_, false) if line.starts_with("## ") || cell.is_some() => types = named,
            (None, _) if line.starts_with("## ") => types.clear(),
            (Some(cell), _) if !types.is_empty() => {
                let is_kind = |word: &&str| word.chars().all(char::is_alphanumeric);
                let kinds = code(cell).filter(is_kind);
                documented.entry(types.clone()).or_default().extend(kinds);
            }
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for (types, documented) in &documented {
        let expected: BTreeSet<_> = types.iter().flat_map(|name| &expected[*name]).map(String::as_str).collect();
        assert_eq!(documented, &expected, "{types:?}");
        found.extend(types.iter().copied());
    }
    let missing: Vec<_> = expected.keys().filter(|name| !found.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "no table: {missing:?}");
}

/// The variants of each `ErrorKind` and `RejectionKind`, from the lists in docs/api, which a test step keeps up to date.
fn kinds_in_the_public_interface() -> std::io::Result<BTreeMap<String, BTreeSet<String>>> {
    let mut kinds: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api");
    for file in fs::read_dir(folder)? {
        let text = fs::read_to_string(file?.path())?;
        let variants = text.lines().filter_map(|line| line.strip_prefix("pub variant "));
        for (name, kind) in variants.filter_map(|path| path.rsplit_once("::")) {
            if name.ends_with("::ErrorKind") || name.ends_with("::RejectionKind") {
                kinds.entry(name.to_owned()).or_default().insert(kind.to_owned());
            }
        }
    }
    Ok(kinds)
}

/// The parts of a line between backticks.
fn code(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}
