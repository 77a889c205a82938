//! Where a packet ends, told from its first bytes.

use rumqttc::mqttbytes::{self, FixedHeader};

use crate::error::{Error, ErrorKind};

/// What the bytes that have arrived amount to.
pub(crate) enum Frame {
    /// A packet and perhaps more: it ends before `end`.
    Whole { header: FixedHeader, end: usize },
    /// At least so many bytes are missing.
    Missing(usize),
}

/// Looks at what has arrived. What cannot become a packet, or one of at most `max` bytes, is refused at once.
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

/// Where the body of a whole packet begins. MQTT 3.1.1 does not ask for the shortest form of a length.
pub(crate) fn body_start(frame: &[u8]) -> usize {
    2 + frame
        .iter()
        .skip(1)
        .take_while(|byte| **byte & 0x80 != 0)
        .count()
}

/// The packet's type and its flags, which rumqttc does not look at (MQTT-2.2.2-2, MQTT-3.3.1-4).
fn check_first(first: u8) -> Result<(), Error> {
    match (first >> 4, first & 0x0f) {
        (1 | 2 | 4 | 5 | 7 | 9 | 11..=14, 0) | (6 | 8 | 10, 0b0010) => Ok(()),
        (3, flags) if flags & 0b0110 != 0b0110 => Ok(()),
        (0 | 15, _) => Err(Error::malformed("there is no packet of this type")),
        _ => Err(Error::malformed(
            "the packet's flags are not those of its type",
        )),
    }
}
