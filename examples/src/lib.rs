//! The examples are the files in this folder: `cargo run --example quickstart`. The snippets of the documents are compiled here.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
