//! What holds for any input: nothing panics, and what is written is read as the same.

mod documents;
mod texts;
mod tpm;
