//! Deliveries: messages cut into transfers, and transfers joined to messages (AMQP 2.6.14).

use crate::error::{Error, ErrorKind};
use crate::frame::{Frame, HEADER};
use crate::performative::Performative;
use crate::transfer::Transfer;

/// More than the encoded size of a transfer performative with a tag of four bytes.
const TRANSFER_SIZE: usize = 64;

/// Cuts a message into the frames of one delivery. `max_frame` is the largest frame that the peer accepts.
pub(crate) fn frames(
    channel: u16,
    transfer: &Transfer,
    message: &[u8],
    max_frame: usize,
) -> Result<Vec<Frame>, Error> {
    let max_payload = max_frame.saturating_sub(HEADER + TRANSFER_SIZE).max(1);
    let mut pieces: Vec<&[u8]> = message.chunks(max_payload).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let last = pieces.len() - 1;
    let pieces = pieces.into_iter().enumerate();
    pieces
        .map(|(index, piece)| {
            let more = index < last;
            let transfer = if index == 0 {
                Transfer {
                    more,
                    ..transfer.clone()
                }
            } else {
                Transfer {
                    handle: transfer.handle,
                    settled: transfer.settled,
                    more,
                    ..Transfer::default()
                }
            };
            let mut body = Performative::Transfer(transfer).encode()?;
            body.extend_from_slice(piece);
            Ok(Frame::amqp(channel, &body))
        })
        .collect()
}

/// Joins the transfers of one link.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    current: Option<Partial>,
}

#[derive(Debug)]
struct Partial {
    delivery_id: u32,
    settled: bool,
    payload: Vec<u8>,
}

/// A whole delivery.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) id: u32,
    pub(crate) settled: bool,
    pub(crate) payload: Vec<u8>,
}

impl Assembly {
    /// Returns true after the first transfers of a delivery, until its last one.
    pub(crate) fn is_partial(&self) -> bool {
        self.current.is_some()
    }

    /// Adds a transfer. Returns the delivery after its last one. A message above `max` bytes is an error.
    pub(crate) fn add(
        &mut self,
        transfer: &Transfer,
        payload: &[u8],
        max: usize,
    ) -> Result<Option<Delivery>, Error> {
        let mut partial = match (self.current.take(), transfer.delivery_id) {
            (Some(partial), None) => partial,
            (Some(partial), Some(id)) if id == partial.delivery_id => partial,
            (Some(_), Some(_)) => {
                return Err(Error::not_allowed(
                    "a delivery began before the one before it was complete",
                ));
            }
            (None, Some(delivery_id)) => Partial {
                delivery_id,
                settled: false,
                payload: Vec::new(),
            },
            (None, None) => {
                return Err(Error::not_allowed(
                    "the first transfer of a delivery has no delivery id",
                ));
            }
        };
        if transfer.aborted {
            return Ok(None);
        }
        if partial.payload.len() + payload.len() > max {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!("a message is larger than the limit of {max} bytes"),
            ));
        }
        partial.settled |= transfer.settled.unwrap_or_default();
        partial.payload.extend_from_slice(payload);
        if transfer.more {
            self.current = Some(partial);
            return Ok(None);
        }
        Ok(Some(Delivery {
            id: partial.delivery_id,
            settled: partial.settled,
            payload: partial.payload,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer() -> Transfer {
        Transfer {
            handle: 1,
            delivery_id: Some(7),
            delivery_tag: Some(vec![0, 0, 0, 7]),
            settled: Some(false),
            ..Transfer::default()
        }
    }

    #[test]
    fn a_message_survives_any_frame_size() {
        let message: Vec<u8> = (0..3000).map(|index| index as u8).collect();
        for max_frame in [512, 513, 700, 3000, 65_536] {
            let mut assembly = Assembly::default();
            let mut deliveries = Vec::new();
            for frame in frames(0, &transfer(), &message, max_frame).unwrap() {
                assert!(frame.body.len() + HEADER <= max_frame);
                let (Performative::Transfer(transfer), payload) =
                    Performative::decode(&frame.body).unwrap()
                else {
                    panic!("no transfer");
                };
                deliveries.extend(assembly.add(&transfer, payload, 3000).unwrap());
            }
            assert_eq!(
                deliveries,
                [Delivery {
                    id: 7,
                    settled: false,
                    payload: message.clone()
                }]
            );
        }
    }

    #[test]
    fn an_aborted_delivery_is_dropped_and_an_endless_one_is_refused() {
        let mut assembly = Assembly::default();
        let more = Transfer {
            more: true,
            ..transfer()
        };
        assert_eq!(assembly.add(&more, b"abc", 10).unwrap(), None);
        let aborted = Transfer {
            aborted: true,
            ..transfer()
        };
        assert_eq!(assembly.add(&aborted, b"", 10).unwrap(), None);
        assert_eq!(assembly.add(&more, b"abcdef", 10).unwrap(), None);
        let error = assembly.add(&more, b"abcdef", 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn deliveries_do_not_overlap() {
        let mut assembly = Assembly::default();
        let more = Transfer {
            more: true,
            ..transfer()
        };
        assembly.add(&more, b"", 10).unwrap();
        let other = Transfer {
            delivery_id: Some(8),
            ..transfer()
        };
        assert!(assembly.add(&other, b"", 10).is_err());
        let nameless = Transfer {
            delivery_id: None,
            ..transfer()
        };
        assert!(Assembly::default().add(&nameless, b"", 10).is_err());
    }
}
