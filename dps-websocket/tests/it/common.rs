//! Test support.

pub(crate) const MAX: usize = 4096;

/// Bytes as the standard's tables have them: hexadecimal, with blanks.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}
