//! The tables of the book about what the doctor finds: each row names tests that exist.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const PAGE: &str = "docs/book/src/troubleshooting.md";

#[test]
fn each_row_names_a_test_that_exists_and_each_test_of_the_doctor_is_in_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join(PAGE)).unwrap();
    let rows = rows(&page);
    assert!(rows.len() > 30, "{rows:#?}");
    let mut sources = Vec::new();
    for directory in ["dps-cli/tests", "dps-emulator/tests"] {
        collect(&root.join(directory), &mut sources);
    }
    let existing: BTreeSet<_> = sources.iter().flat_map(|(_, text)| tests(text)).collect();
    let mut named = BTreeSet::new();
    for row in &rows {
        let names: Vec<_> = quoted(row.rsplit('|').nth(1).unwrap()).collect();
        assert!(!names.is_empty(), "{PAGE}: this row names no test: {row}");
        for name in names {
            assert!(existing.contains(name), "{PAGE}: there is no test {name}");
            named.insert(name);
        }
    }
    let of_the_doctor = sources.iter().filter(|(file, _)| {
        let name = file.file_stem().unwrap().to_str().unwrap();
        name.starts_with("doctor") && name != "doctor_table"
    });
    for name in of_the_doctor.flat_map(|(_, text)| tests(text)) {
        assert!(named.contains(name), "{PAGE}: no row names the test {name}");
    }
}

/// The rows of the tables whose last column is `test`, without their heads.
fn rows(page: &str) -> Vec<&str> {
    let mut in_table = false;
    page.lines()
        .filter(|line| {
            let head = line.ends_with("| test |");
            in_table = head || in_table && line.starts_with('|');
            in_table && !head && !line.starts_with("| ---")
        })
        .collect()
}

/// The words between grave accents.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// The names of the functions with an attribute `#[test]` or `#[tokio::test]`.
fn tests(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines() {
        let line = line.trim_start();
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            found.extend(rest.split('(').next());
            is_test = false;
        }
    }
    found
}

fn collect(directory: &Path, sources: &mut Vec<(std::path::PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            sources.push((path, text));
        }
    }
}
