//! Finds the end of a packet from its first bytes.

use rumqttc::mqttbytes::{self, FixedHeader};

use crate::error::{Error, ErrorKind};

/// The state of the bytes that have arrived.
pub(crate) enum Frame {
    /// A whole packet, which ends before `end`.
    Whole { header: FixedHeader, end: usize },
    /// At least this number of bytes is missing.
    Missing(usize),
}

/// Inspects the bytes that have arrived. Bytes that cannot become a packet of at most `max` bytes are refused at once.
pub(crate) fn scan(bytes: &[u8], max: usize) -> Result<Frame, Error> {
    if let Some(first) = bytes.first() {
        check_first(*first)?;
    }
    match mqttbytes::check(bytes.iter(), usize::MAX) {
        Ok(header) if header.frame_length() > max => Err(Error::too_large()),
        Ok(header) => Ok(Frame::Whole {
            header,
            end: header.frame_length(),
        }),
        Err(mqttbytes::Error::InsufficientBytes(missing)) if bytes.len() + missing > max => {
            Err(Error::too_large())
        }
        Err(mqttbytes::Error::InsufficientBytes(missing)) => Ok(Frame::Missing(missing)),
        Err(error) => Err(
            Error::new(ErrorKind::Malformed, "the packet's length cannot be read")
                .with_source(error),
        ),
    }
}

/// The body of a whole packet. MQTT 3.1.1 does not require the shortest form of a length.
pub(crate) fn body(frame: &[u8]) -> &[u8] {
    let length = frame.get(1..).unwrap_or_default();
    let last = length.iter().position(|byte| byte & 0x80 == 0);
    last.and_then(|last| length.get(last + 1..))
        .unwrap_or_default()
}

/// Checks the type and the flags, which rumqttc ignores (MQTT-2.2.2-2, MQTT-3.3.1-4).
fn check_first(first: u8) -> Result<(), Error> {
    match (first >> 4, first & 0x0f) {
        (1 | 2 | 4 | 5 | 7 | 9 | 11..=14, 0) | (6 | 8 | 10, 0b0010) => Ok(()),
        (3, flags) if flags & 0b0110 != 0b0110 => Ok(()),
        (0 | 15, _) => Err(Error::malformed("the packet type is not valid")),
        _ => Err(Error::malformed(
            "the packet's flags are not those of its type",
        )),
    }
}
