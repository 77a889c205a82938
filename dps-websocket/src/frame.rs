//! WebSocket frames (RFC 6455, section 5): the header, read and written, and the mask.

/// The longest payload of a ping, pong or close frame, in bytes.
pub(crate) const MAX_CONTROL: usize = 125;
/// The longest header: two bytes, a length of eight, a mask of four.
const MAX_HEADER: usize = 14;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    pub(crate) fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) opcode: Opcode,
    pub(crate) is_final: bool,
    pub(crate) length: u64,
    pub(crate) mask: Option<[u8; 4]>,
}

impl Header {
    /// Reads a header, and how many bytes it has. `Ok(None)` means that bytes are missing.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, &'static str> {
        let [first, second, rest @ ..] = bytes else {
            return Ok(None);
        };
        if first & RESERVED != 0 {
            return Err("a WebSocket frame has a reserved bit set");
        }
        let opcode =
            Opcode::from_bits(first & 0x0f).ok_or("a WebSocket frame has an unknown opcode")?;
        let is_final = first & FINAL != 0;
        let short = second & !MASKED;
        if opcode.is_control() && (!is_final || usize::from(short) > MAX_CONTROL) {
            return Err("a WebSocket control frame is fragmented or longer than 125 bytes");
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((length, rest)) = rest.split_at_checked(extended) else {
            return Ok(None);
        };
        let length = match extended {
            0 => u64::from(short),
            _ => length
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let mask = match second & MASKED {
            0 => None,
            _ => match rest.first_chunk::<4>() {
                Some(mask) => Some(*mask),
                None => return Ok(None),
            },
        };
        let header = Self {
            opcode,
            is_final,
            length,
            mask,
        };
        Ok(Some((header, 2 + extended + mask.map_or(0, |_| 4))))
    }
}

/// Appends a whole frame that is not fragmented.
pub(crate) fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    out.push(FINAL | opcode as u8);
    let masked = mask.map_or(0, |_| MASKED);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if length < 126 => out.push(masked | length),
        (_, Ok(length)) => {
            out.push(masked | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    let start = out.len() + mask.map_or(0, |mask| mask.len());
    out.extend(mask.iter().flatten());
    out.extend_from_slice(payload);
    if let (Some(mask), Some(payload)) = (mask, out.get_mut(start..)) {
        unmask(payload, mask, 0);
    }
}

/// The maximum number of bytes that [`write`] appends.
pub(crate) fn max_size(payload: usize) -> usize {
    MAX_HEADER + payload
}

/// Masks or unmasks bytes that begin at this offset of the payload.
pub(crate) fn unmask(bytes: &mut [u8], mut mask: [u8; 4], offset: u64) {
    mask.rotate_left((offset % 4) as usize);
    for part in bytes.chunks_mut(4) {
        for (byte, mask) in part.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6455, section 5.7.
    #[test]
    fn the_examples_of_the_rfc() {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut masked = Vec::new();
        write(&mut masked, Opcode::Text, b"Hello", Some(mask));
        assert_eq!(masked, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
        let mut pong = Vec::new();
        write(&mut pong, Opcode::Pong, b"Hello", None);
        assert_eq!(pong, b"\x8a\x05Hello");
        let mut large = Vec::new();
        write(&mut large, Opcode::Binary, &[0; 256], None);
        assert_eq!(large[..4], *b"\x82\x7e\x01\x00");
        let mut larger = Vec::new();
        write(&mut larger, Opcode::Binary, &[0; 65_536], None);
        assert_eq!(larger[..10], *b"\x82\x7f\0\0\0\0\0\x01\0\0");
    }

    #[test]
    fn frames_that_break_the_rfc_are_refused() {
        for (bytes, reason) in [
            (b"\xc2\x00", "reserved bit"),
            (b"\x83\x00", "unknown opcode"),
            (b"\x8b\x00", "unknown opcode"),
            (b"\x09\x00", "control frame"),
            (b"\x89\x7e", "control frame"),
        ] {
            let error = Header::parse(bytes).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }

    proptest! {
        #[test]
        fn written_packets_are_read(
            length in prop_oneof![0_usize..300, 65_500_usize..65_600],
            mask in any::<Option<[u8; 4]>>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut bytes = Vec::new();
            write(&mut bytes, Opcode::Binary, &payload, mask);
            prop_assert!(bytes.len() <= max_size(length));
            let (header, end) = Header::parse(&bytes).expect("a header").expect("a whole header");
            let expected = Header { opcode: Opcode::Binary, is_final: true, length: length as u64, mask };
            prop_assert_eq!(header, expected);
            prop_assert_eq!(Header::parse(&bytes[..cut.index(end)]), Ok(None));
            let mut read = bytes.split_off(end);
            if let Some(mask) = mask {
                let (first, second) = read.split_at_mut(length / 3);
                unmask(first, mask, 0);
                unmask(second, mask, (length / 3) as u64);
            }
            prop_assert_eq!(read, payload);
        }
    }
}
