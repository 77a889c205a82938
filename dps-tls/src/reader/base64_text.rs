//! Base64 as files and variables hold it: with white space anywhere, also written out as `\n`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The text without white space. `Err` is the offset of the first byte that is not base64.
pub(super) fn compact(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, usize> {
    // Allocated once: a Vec that grows leaves copies in memory.
    let mut compact = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += match byte {
            b'\\' if matches!(text.get(at + 1), Some(b'n' | b'r' | b't')) => 2,
            byte if byte.is_ascii_whitespace() => 1,
            byte if byte.is_ascii_alphanumeric() || b"+/=".contains(&byte) => {
                compact.push(byte);
                1
            }
            _ => return Err(at),
        };
    }
    Ok(compact)
}

/// The bytes, if the whole text is base64.
pub(super) fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    decode_compact(&compact(text).ok()?)
}

pub(super) fn decode_compact(compact: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; compact.len() / 4 * 3 + 3]);
    let length = STANDARD.decode_slice(compact, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(bytes)
}
