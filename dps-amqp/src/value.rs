//! Encoded values: finds the end of a value, and checks that it can be decoded safely (AMQP 1.2 and 1.6).
//!
//! serde_amqp decodes recursively and does not check the counts that it reads. So the structure is checked first: known types,
//! sizes that add up, at most [`MAX_DEPTH`] levels and [`MAX_ELEMENTS`] elements.

use serde_amqp::Value;

use crate::error::Error;

/// The maximum depth of nested values. An attach with a terminus, its filter and a described filter value has five levels.
pub(crate) const MAX_DEPTH: usize = 12;

/// The maximum number of elements of a list, a map or an array.
pub(crate) const MAX_ELEMENTS: usize = 1024;

/// Decodes the first value, and returns it with the bytes after it.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Value, &[u8]), Error> {
    let (value, rest) = bytes
        .split_at_checked(length(bytes)?)
        .ok_or_else(truncated)?;
    let value = serde_amqp::from_slice(value)
        .map_err(|source| Error::malformed("a value cannot be decoded").with_source(source))?;
    Ok((value, rest))
}

/// Encodes a value.
pub(crate) fn encode(value: &Value) -> Result<Vec<u8>, Error> {
    serde_amqp::to_vec(value)
        .map_err(|source| Error::malformed("a value cannot be encoded").with_source(source))
}

/// The number of bytes of the first value.
fn length(bytes: &[u8]) -> Result<usize, Error> {
    let mut cursor = Cursor { bytes, at: 0 };
    cursor.value(MAX_DEPTH)?;
    Ok(cursor.at)
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn value(&mut self, depth: usize) -> Result<(), Error> {
        let constructor = self.constructor(depth)?;
        self.content(constructor, depth)
    }

    /// Reads the type of a value, and the descriptor of a described one. Returns the format code.
    fn constructor(&mut self, depth: usize) -> Result<u8, Error> {
        if depth == 0 {
            return Err(Error::malformed(format!(
                "a value is nested more than {MAX_DEPTH} levels deep"
            )));
        }
        let code = self.byte()?;
        if code != 0 {
            return Ok(code);
        }
        match self.byte()? {
            0x44 => {}
            0x53 => self.skip(1)?,
            0x80 => self.skip(8)?,
            0xa3 => self.variable(1)?,
            0xb3 => self.variable(4)?,
            other => {
                return Err(Error::malformed(format!(
                    "a descriptor of type {other:#04x} is neither an ulong nor a symbol"
                )));
            }
        }
        match self.byte()? {
            0 => Err(Error::malformed("a descriptor follows a descriptor")),
            code => Ok(code),
        }
    }

    fn content(&mut self, code: u8, depth: usize) -> Result<(), Error> {
        match code {
            0x40..=0x45 => Ok(()),
            0x50..=0x56 => self.skip(1),
            0x60 | 0x61 => self.skip(2),
            0x70..=0x74 => self.skip(4),
            0x80..=0x84 => self.skip(8),
            0x94 | 0x98 => self.skip(16),
            0xa0 | 0xa1 | 0xa3 => self.variable(1),
            0xb0 | 0xb1 | 0xb3 => self.variable(4),
            0xc0 | 0xc1 => self.compound(1, code == 0xc1, depth),
            0xd0 | 0xd1 => self.compound(4, code == 0xd1, depth),
            0xe0 => self.array(1, depth),
            0xf0 => self.array(4, depth),
            other => Err(Error::malformed(format!(
                "{other:#04x} is not an AMQP type"
            ))),
        }
    }

    fn compound(&mut self, width: usize, map: bool, depth: usize) -> Result<(), Error> {
        let end = self.end(width)?;
        let count = self.count(width)?;
        if map && count % 2 != 0 {
            return Err(Error::malformed("a map has a key without a value"));
        }
        for _ in 0..count {
            self.value(depth - 1)?;
        }
        self.expect_end(end)
    }

    fn array(&mut self, width: usize, depth: usize) -> Result<(), Error> {
        let end = self.end(width)?;
        let count = self.count(width)?;
        if count == 0 && self.at == end {
            return Ok(());
        }
        let constructor = self.constructor(depth - 1)?;
        for _ in 0..count {
            self.content(constructor, depth - 1)?;
        }
        self.expect_end(end)
    }

    /// Reads a size, and returns where the sized part ends.
    fn end(&mut self, width: usize) -> Result<usize, Error> {
        let size = self.number(width)?;
        match self.at.checked_add(size) {
            Some(end) if end <= self.bytes.len() => Ok(end),
            _ => Err(Error::malformed(
                "a value is longer than the frame that it is in",
            )),
        }
    }

    fn expect_end(&self, end: usize) -> Result<(), Error> {
        if self.at == end {
            Ok(())
        } else {
            Err(Error::malformed(
                "the size of a value does not match its elements",
            ))
        }
    }

    fn count(&mut self, width: usize) -> Result<usize, Error> {
        match self.number(width)? {
            count if count <= MAX_ELEMENTS => Ok(count),
            count => Err(Error::malformed(format!(
                "a value of {count} elements is larger than the limit of {MAX_ELEMENTS}"
            ))),
        }
    }

    fn variable(&mut self, width: usize) -> Result<(), Error> {
        let size = self.number(width)?;
        self.skip(size)
    }

    fn number(&mut self, width: usize) -> Result<usize, Error> {
        let start = self.at;
        self.skip(width)?;
        let bytes = self.bytes.get(start..self.at).ok_or_else(truncated)?;
        Ok(bytes
            .iter()
            .fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let byte = self.bytes.get(self.at).copied();
        self.skip(1)?;
        byte.ok_or_else(truncated)
    }

    fn skip(&mut self, count: usize) -> Result<(), Error> {
        match self.at.checked_add(count) {
            Some(at) if at <= self.bytes.len() => {
                self.at = at;
                Ok(())
            }
            _ => Err(truncated()),
        }
    }
}

fn truncated() -> Error {
    Error::malformed("a value ends early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_length_in_its_constructor() {
        // Literals of AMQP 1.6.
        for (bytes, expected) in [
            (&b"\x40"[..], 1),
            (b"\x41\x40", 1),
            (b"\x56\x01", 2),
            (b"\x43", 1),
            (b"\x52\x07", 2),
            (b"\x70\x00\x00\x00\x07", 5),
            (b"\x80\x00\x00\x00\x00\x00\x00\x00\x07", 9),
            (b"\xa1\x02hi", 4),
            (b"\xb1\x00\x00\x00\x02hi", 7),
            (b"\x45", 1),
            (b"\xc0\x03\x02\x40\x40rest", 5),
            (b"\xd0\x00\x00\x00\x06\x00\x00\x00\x02\x40\x40", 11),
            (b"\xc1\x06\x02\xa1\x01k\x52\x01", 8),
            (b"\xe0\x04\x02\x50\x01\x02", 6),
            (b"\x00\x53\x75\xa0\x02hi", 7),
            (b"\x00\xa3\x05a:b:c\x45", 9),
        ] {
            assert_eq!(length(bytes).unwrap(), expected, "{bytes:02x?}");
            decode(bytes).unwrap_or_else(|error| panic!("{bytes:02x?}: {error:?}"));
        }
    }

    #[test]
    fn invalid_values_are_refused() {
        let deep = [b'\xc0', 0x7f].repeat(40);
        for bytes in [
            &b""[..],
            b"\x00",
            b"\x00\x53",
            b"\x00\x53\x10",
            b"\x00\x40\x45",
            b"\x00\x53\x10\x00\x53\x10\x45",
            b"\x99",
            b"\x70\x00",
            b"\xa1\x03hi",
            b"\xb0\xff\xff\xff\xff",
            b"\xc0\x03\x01\x40\x40",
            b"\xc0\x03\x03\x40\x40",
            b"\xc1\x02\x01\x40",
            b"\xd0\x00\x00\x00\x04\xff\xff\xff\xff",
            b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40",
            b"\xe0\x03\x05\x50\x01",
            &deep,
        ] {
            assert!(length(bytes).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| {
            (0..levels).fold(vec![0x45], |inner, _| {
                let mut list = vec![0xd0];
                list.extend((inner.len() as u32 + 4).to_be_bytes());
                list.extend(1u32.to_be_bytes());
                list.extend(inner);
                list
            })
        };
        decode(&nested(MAX_DEPTH - 1)).unwrap();
        assert!(decode(&nested(MAX_DEPTH)).is_err());
        assert!(decode(&nested(10_000)).is_err());
    }
}
