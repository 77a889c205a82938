//! The pieces of the mechanism TPM: a long value is cut, and each piece begins with a control byte.
//!
//! The control byte has bit 0x80 set, bit 0x40 on the last piece, bit 0x10 on a piece of a storage root key, and the sequence number modulo 4 in its low
//! bits. Sources: the SASL mechanisms of Microsoft's C, C#, Java and Node provisioning SDKs.

use crate::error::Error;

/// The most bytes of data in one piece, so that the frame stays within the 512 bytes that SASL allows.
pub const MAX_PIECE: usize = 470;

/// The most bytes that the pieces of one value may have together.
const MAX_VALUE: usize = 4096;

const PIECE: u8 = 0x80;
const LAST: u8 = 0x40;
const SEQUENCE: u8 = 0x03;

/// Cuts a value into exactly two pieces with their control bytes. Java's SDK accepts no other number.
pub(super) fn in_two(value: &[u8]) -> Result<[Vec<u8>; 2], Error> {
    if value.len() < 2 || value.len() > 2 * MAX_PIECE {
        return Err(Error::not_allowed(format!(
            "a challenge of {} bytes cannot be cut into two pieces of at most {MAX_PIECE} bytes",
            value.len()
        )));
    }
    let (first, second) = value.split_at(value.len().div_ceil(2));
    Ok([piece(PIECE, first), piece(PIECE | LAST | 1, second)])
}

/// Cuts a value into as many pieces as it needs. A value that fits one frame is sent after a zero byte instead.
pub(super) fn cut(value: &[u8], flags: u8) -> Vec<Vec<u8>> {
    if value.len() <= MAX_PIECE {
        return vec![piece(0, value)];
    }
    let count = value.len().div_ceil(MAX_PIECE);
    value
        .chunks(MAX_PIECE)
        .enumerate()
        .map(|(index, data)| {
            let sequence = (index % 4) as u8;
            let last = if index + 1 == count { LAST } else { 0 };
            piece(PIECE | last | flags | sequence, data)
        })
        .collect()
}

fn piece(control: u8, data: &[u8]) -> Vec<u8> {
    let mut piece = Vec::with_capacity(data.len() + 1);
    piece.push(control);
    piece.extend_from_slice(data);
    piece
}

/// Joins pieces.
#[derive(Default)]
pub(super) struct Pieces {
    value: zeroize::Zeroizing<Vec<u8>>,
    count: usize,
}

impl Pieces {
    /// Adds a piece. Returns the value after its last one.
    pub(super) fn add(
        &mut self,
        piece: &[u8],
    ) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, Error> {
        let Some((control, data)) = piece.split_first() else {
            return Err(Error::not_allowed(
                "a piece of the TPM mechanism has no control byte",
            ));
        };
        if control & PIECE == 0 {
            return Err(Error::not_allowed(format!(
                "{control:#04x} is not the control byte of a piece"
            )));
        }
        let expected = (self.count % 4) as u8;
        if control & SEQUENCE != expected {
            return Err(Error::not_allowed(format!(
                "a piece has the sequence number {}, but {expected} was expected",
                control & SEQUENCE
            )));
        }
        if self.value.len() + data.len() > MAX_VALUE {
            return Err(Error::not_allowed(format!(
                "the pieces of a value have more than {MAX_VALUE} bytes"
            )));
        }
        self.value.extend_from_slice(data);
        self.count += 1;
        if control & LAST == 0 {
            return Ok(None);
        }
        self.count = 0;
        Ok(Some(std::mem::take(&mut self.value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_has_two_pieces_with_the_control_bytes_that_every_sdk_accepts() {
        let value: Vec<u8> = (0..900).map(|index| index as u8).collect();
        let [first, second] = in_two(&value).unwrap();

        assert_eq!((first[0], second[0]), (0x80, 0xc1));
        assert_eq!([&first[1..], &second[1..]].concat(), value);
        let mut pieces = Pieces::default();
        assert!(pieces.add(&first).unwrap().is_none());
        assert_eq!(pieces.add(&second).unwrap().unwrap().as_slice(), value);
    }

    #[test]
    fn a_short_value_is_sent_whole_and_a_long_one_in_pieces() {
        assert_eq!(cut(b"key", 0), [b"\x00key"]);
        let long = vec![7; 2 * MAX_PIECE + 1];
        let controls: Vec<u8> = cut(&long, 0x10).iter().map(|piece| piece[0]).collect();
        assert_eq!(controls, [0x90, 0x91, 0xd2]);
    }

    #[test]
    fn wrong_pieces_are_refused() {
        for piece in [&b""[..], b"\x00a", b"\x81a", b"\xc2a"] {
            assert!(Pieces::default().add(piece).is_err(), "{piece:02x?}");
        }
        let mut pieces = Pieces::default();
        let endless = (0..).map(|index: usize| piece(PIECE | (index % 4) as u8, &[0; MAX_PIECE]));
        assert!(
            endless
                .take(20)
                .map(|piece| pieces.add(&piece))
                .any(|result| result.is_err())
        );
        assert!(in_two(&[0; 2 * MAX_PIECE + 1]).is_err());
        assert!(in_two(b"a").is_err());
    }
}
