//! Base64 with white space anywhere, which is ignored as .NET's `Convert.FromBase64String` does.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// The bytes, or `None` when the text is not base64.
pub(crate) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // Allocated once: a Vec that grows leaves copies in memory.
    let mut compact = Zeroizing::new(String::with_capacity(text.len()));
    compact.extend(text.chars().filter(|c| !c.is_ascii_whitespace()));
    let mut bytes = Zeroizing::new(vec![0; compact.len() / 4 * 3 + 3]);
    let length = STANDARD.decode_slice(compact.as_bytes(), &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}
