//! Properties of all parsers: no input panics, and a written value is read as the same value.

mod documents;
mod texts;
mod tpm;
