//! The packets do not depend on the division of the stream or on dropped futures.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use crate::common::{MAX, hex, read_all, written};
use dps_mqtt::{Connect, ConnectCode, Packet, Packets, Publish, QoS};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

/// A stream that returns one piece at a time, and waits before each.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    waited: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.waited = !self.waited;
        if self.waited {
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Polls a future once, and drops it.
fn once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

fn text() -> impl Strategy<Value = String> {
    "[ -~äß€😀]{0,40}"
}

fn topic() -> impl Strategy<Value = String> {
    "[a-zé$/?=&]{1,40}"
}

fn filter() -> impl Strategy<Value = String> {
    prop_oneof![
        topic(),
        topic().prop_map(|topic| format!("{topic}/#")),
        topic().prop_map(|topic| format!("+/{topic}/+")),
    ]
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ]
}

fn connect() -> impl Strategy<Value = Packet> {
    let login = option::of((text(), option::of(text())));
    (text(), login, any::<u16>(), any::<bool>()).prop_map(|(id, login, keep_alive, clean)| {
        let mut connect = Connect::new(id);
        if let Some((username, password)) = login {
            connect.username = Some(username);
            connect.password = password.map(Zeroizing::new);
        }
        connect.keep_alive = keep_alive;
        connect.clean_session = clean;
        Packet::Connect(connect)
    })
}

fn publish() -> impl Strategy<Value = Packet> {
    let flags = (qos(), 1..=u16::MAX, any::<bool>(), any::<bool>());
    (topic(), vec(any::<u8>(), 0..600), flags).prop_map(|(topic, payload, flags)| {
        let (qos, id, duplicate, retain) = flags;
        let sure = qos != QoS::AtMostOnce;
        let mut publish = Publish::new(topic, payload, qos, sure.then_some(id));
        publish.duplicate = duplicate && sure;
        publish.retain = retain;
        Packet::Publish(publish)
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let id = || 1..=u16::MAX;
    let code = prop_oneof![
        Just(ConnectCode::Accepted),
        Just(ConnectCode::ServerUnavailable),
        Just(ConnectCode::NotAuthorized),
    ];
    prop_oneof![
        connect(),
        publish(),
        (any::<bool>(), code).prop_map(|(session_present, code)| Packet::ConnAck {
            session_present,
            code
        }),
        id().prop_map(|packet_id| Packet::PubAck { packet_id }),
        id().prop_map(|packet_id| Packet::PubRel { packet_id }),
        (id(), vec((filter(), qos()), 1..4))
            .prop_map(|(packet_id, filters)| Packet::Subscribe { packet_id, filters }),
        (id(), vec(option::of(qos()), 1..4))
            .prop_map(|(packet_id, granted)| Packet::SubAck { packet_id, granted }),
        (id(), vec(filter(), 1..4))
            .prop_map(|(packet_id, filters)| Packet::Unsubscribe { packet_id, filters }),
        Just(Packet::PingReq),
        Just(Packet::Disconnect),
    ]
}

async fn bytes_of(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for packet in packets {
        bytes.extend(written(packet.clone()).await.unwrap());
    }
    bytes
}

proptest! {
    #[test]
    fn written_packets_are_read(packets in vec(packet(), 0..8)) {
        let read = block_on(async { read_all(&bytes_of(&packets).await).await });
        prop_assert_eq!(read.unwrap(), packets);
    }

    #[test]
    fn cuts_and_dropped_futures_change_nothing(packets in vec(packet(), 1..6), cuts in vec(1..300usize, 1..20)) {
        let mut bytes = block_on(bytes_of(&packets));
        let mut pieces = VecDeque::new();
        for cut in cuts.iter().cycle() {
            if bytes.is_empty() {
                break;
            }
            let rest = bytes.split_off(bytes.len().min(*cut));
            pieces.push_back(std::mem::replace(&mut bytes, rest));
        }
        let mut stream = Packets::new(Pieces { pieces, waited: false }, MAX);
        let mut read = Vec::new();
        loop {
            match once(stream.read()) {
                Poll::Pending => {}
                Poll::Ready(packet) => match packet.unwrap() {
                    Some(packet) => read.push(packet),
                    None => break,
                }
            }
        }
        prop_assert_eq!(read, packets);
    }

    /// An accepted packet is written and read back as the same packet. Two cannot be written: one with a will, and one
    /// with an unknown return code.
    #[test]
    fn damaged_packets_are_refused_or_sound(
        packet in packet(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in option::of(any::<prop::sample::Index>()),
    ) {
        block_on(async {
            let mut bytes = written(packet).await.unwrap();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            check_sound(&bytes).await;
        });
    }

    #[test]
    fn random_bytes_are_refused_or_sound(first in any::<u8>(), body in vec(any::<u8>(), 0..60)) {
        block_on(async {
            check_sound(&[&[first, body.len() as u8][..], &body].concat()).await;
        });
    }
}

async fn check_sound(bytes: &[u8]) {
    let mut packets = Packets::new(bytes, MAX);
    while let Ok(Some(packet)) = packets.read().await {
        let can_be_written = match &packet {
            Packet::Connect(connect) => !connect.has_will,
            Packet::ConnAck { code, .. } => !matches!(code, ConnectCode::Unknown(_)),
            _ => true,
        };
        if can_be_written {
            let again = written(packet.clone()).await.unwrap();
            assert_eq!(read_all(&again).await.unwrap(), [packet]);
        }
    }
}

#[tokio::test]
async fn a_write_that_was_dropped_is_finished_by_the_next() {
    let publish = |text: &'static str| {
        Packet::Publish(Publish::new("t", text.as_bytes(), QoS::AtMostOnce, None))
    };
    let (ours, theirs) = tokio::io::duplex(4);
    let mut ours = Packets::new(ours, MAX);
    assert!(once(ours.write(publish("first"))).is_pending());

    let mut theirs = Packets::new(theirs, MAX);
    let both = async { (theirs.read().await, theirs.read().await) };
    let (sent, read) = tokio::join!(ours.write(publish("second")), both);
    sent.unwrap();
    assert_eq!(read.0.unwrap(), Some(publish("first")));
    assert_eq!(read.1.unwrap(), Some(publish("second")));
}

#[tokio::test]
async fn both_directions_at_once() {
    let (one, other) = tokio::io::duplex(16);
    let (mut one, mut other) = (Packets::new(one, MAX), Packets::new(other, MAX));
    one.write(Packet::PingReq).await.unwrap();
    assert_eq!(other.read().await.unwrap(), Some(Packet::PingReq));
    other.write(Packet::PingResp).await.unwrap();
    assert_eq!(one.read().await.unwrap(), Some(Packet::PingResp));
    drop(one);
    assert_eq!(other.read().await.unwrap(), None);
    assert_eq!(other.read().await.unwrap(), None);
    assert!(other.write(Packet::PingResp).await.is_err());
}

#[tokio::test]
async fn a_write_arrives_without_another() {
    let (ours, mut theirs) = tokio::io::duplex(16);
    // A stream that keeps bytes until it is flushed.
    let mut ours = Packets::new(tokio::io::BufWriter::new(ours), MAX);
    ours.write(Packet::Disconnect).await.unwrap();
    let mut read = [0; 2];
    theirs.read_exact(&mut read).await.unwrap();
    assert_eq!(read, hex("E0 00")[..]);
}

/// A stream that keeps what each write to it has.
#[derive(Default)]
struct Writes(Vec<Vec<u8>>);

impl AsyncWrite for Writes {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.push(bytes.to_vec());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn packets_that_are_written_together_are_one_write() {
    let mut packets = Packets::new(Writes::default(), MAX);
    let publish = Publish::new("a", b"b".as_slice(), QoS::AtMostOnce, None);
    let both = [Packet::PubAck { packet_id: 7 }, Packet::Publish(publish)];
    packets.write_all(both).await.unwrap();
    packets.write(Packet::PingResp).await.unwrap();
    assert_eq!(
        packets.into_inner().0,
        [hex("40 02 00 07 30 04 00 01 61 62"), hex("D0 00")]
    );
}

#[tokio::test]
async fn of_packets_that_are_written_together_none_is_sent_if_one_is_not_valid() {
    let mut packets = Packets::new(Writes::default(), MAX);
    let without_id = Publish::new("a", b"b".as_slice(), QoS::AtLeastOnce, None);
    let both = [Packet::PingResp, Packet::Publish(without_id)];
    assert!(packets.write_all(both).await.is_err());
    assert!(packets.into_inner().0.is_empty());
}
