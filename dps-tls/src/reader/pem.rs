//! Finds the blocks of PEM. A marker may be anywhere in a line, so lost line ends and indentation are accepted.

use zeroize::Zeroizing;

use super::{Fault, base64_text};

const BEGIN: &[u8] = b"-----BEGIN";
const END: &[u8] = b"-----END";
const DASHES: &[u8] = b"-----";
/// The longest label that is read.
const MAX_LABEL: usize = 64;
/// The minimum length of a line that counts as base64 without its BEGIN line.
const MIN_BASE64: usize = 32;

/// The content between a BEGIN and an END line.
pub(super) struct Block {
    pub(super) label: String,
    /// The line of BEGIN, from 1.
    pub(super) line: usize,
    /// True if the content is encrypted in the way of older versions of OpenSSL. Then `der` is empty.
    pub(super) is_encrypted: bool,
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// Returns true if the input looks like PEM, valid or not.
pub(super) fn is_pem(bytes: &[u8]) -> bool {
    [b"--BEGIN".as_slice(), b"--END", b"-BEGIN ", b"BEGIN CERT"]
        .iter()
        .any(|marker| find(bytes, marker).is_some())
}

/// All blocks. Text between them is passed over, unless it may be part of a damaged block.
pub(super) fn blocks(bytes: &[u8]) -> Result<Vec<Block>, Fault> {
    let mut blocks = Vec::new();
    let mut reader = Reader {
        bytes,
        at: 0,
        line: 1,
    };
    loop {
        let Some(begin) = reader.find(BEGIN) else {
            reader.check_text(reader.until(bytes.len()))?;
            return Ok(blocks);
        };
        reader.check_text(reader.until(begin))?;
        reader.advance(begin);
        blocks.push(reader.block()?);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn find(&self, marker: &[u8]) -> Option<usize> {
        find(self.until(self.bytes.len()), marker).map(|offset| self.at + offset)
    }

    /// The bytes from here to an offset.
    fn until(&self, offset: usize) -> &[u8] {
        self.bytes.get(self.at..offset).unwrap_or_default()
    }

    fn advance(&mut self, to: usize) {
        self.line = self.line_of(to);
        self.at = to;
    }

    fn line_of(&self, offset: usize) -> usize {
        self.line + line_ends(self.until(offset))
    }

    /// Reads the block that begins here.
    fn block(&mut self) -> Result<Block, Fault> {
        let line = self.line;
        let label = self.label(BEGIN)?;
        let wrong = |what: &str| {
            Fault::malformed(format!(
                "the {label} block that begins in line {line} {what}"
            ))
        };
        let end = self
            .find(END)
            .filter(|end| self.find(BEGIN).is_none_or(|next| next > *end))
            .ok_or_else(|| {
                wrong("has no END line: it is truncated, or a part of the file is missing")
            })?;
        let body = self.until(end);
        let is_encrypted = is_encrypted(body);
        let der = match is_encrypted {
            true => Zeroizing::default(),
            false => {
                let compact = base64_text::compact(body).map_err(|offset| {
                    let line = self.line_of(self.at + offset);
                    wrong(&format!(
                        "has a character in line {line} that is not base64"
                    ))
                })?;
                base64_text::decode_compact(&compact)
                    .ok_or_else(|| wrong("is not base64: characters are missing or damaged"))?
            }
        };
        self.advance(end);
        let closing = self.label(END)?;
        if closing != label {
            return Err(wrong(&format!("ends as {closing}")));
        }
        Ok(Block {
            label,
            line,
            is_encrypted,
            der,
        })
    }

    /// Reads the rest of the marker that begins here.
    fn label(&mut self, marker: &[u8]) -> Result<String, Fault> {
        let start = self.at + marker.len();
        let rest = self.bytes.get(start..).unwrap_or_default();
        let window = rest.get(..MAX_LABEL + DASHES.len()).unwrap_or(rest);
        let label = find(window, DASHES)
            .and_then(|length| str::from_utf8(window.get(..length)?).ok())
            .filter(|label| label.starts_with(char::is_whitespace))
            .map(|label| label.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|label| {
                label.bytes().all(|byte| {
                    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b" .#".contains(&byte)
                })
            });
        let Some(label) = label else {
            return Err(damaged_marker(self.line));
        };
        let length = find(window, DASHES).unwrap_or_default();
        self.advance(start + length + DASHES.len());
        Ok(label)
    }

    /// Refuses text outside of blocks that may be part of a block: a damaged marker, base64, an END line.
    fn check_text(&self, text: &[u8]) -> Result<(), Fault> {
        let mut line = self.line;
        for piece in text.split_inclusive(|byte| *byte == b'\n' || *byte == b'\r') {
            if is_damaged_marker(piece) {
                return Err(damaged_marker(line));
            }
            if is_base64(piece) {
                return Err(Fault::malformed(format!(
                    "line {line} is base64 outside of a BEGIN and an END line"
                )));
            }
            line += line_ends(piece);
        }
        Ok(())
    }
}

fn damaged_marker(line: usize) -> Fault {
    Fault::malformed(format!(
        "line {line} has a BEGIN or END that is damaged or stands alone: \
         -----BEGIN CERTIFICATE----- and the like were expected, with five hyphens on both sides"
    ))
}

/// A marker has hyphens before or after it. A comment that begins with the word has none.
fn is_damaged_marker(line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let is_dash = |c: char| matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
    ["BEGIN", "END"].into_iter().any(|word| {
        text.match_indices(word).any(|(at, _)| {
            let (before, after) = text.split_at(at);
            let before = before.trim_end();
            let after = after.strip_prefix(word).unwrap_or_default().trim_end();
            let label = ["CERTIFICATE", "KEY", "REQUEST", "PKCS7"]
                .iter()
                .any(|label| after.contains(label));
            before.ends_with("--")
                || (label && (before.ends_with(is_dash) || after.ends_with(is_dash)))
        })
    })
}

/// DER begins with a SEQUENCE, whose base64 begins with M.
fn is_base64(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.len() >= MIN_BASE64
        && line.starts_with(b"M")
        && line
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
}

fn is_encrypted(body: &[u8]) -> bool {
    find(body, b"Proc-Type:").is_some() && find(body, b"ENCRYPTED").is_some()
}

/// `\r\n`, `\n` and `\r` end a line.
fn line_ends(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .enumerate()
        .filter(|(at, byte)| match byte {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        })
        .count()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
