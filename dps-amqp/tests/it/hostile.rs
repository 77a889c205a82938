//! Peers that break the protocol: the server ends the connection with a condition, and never panics or hangs.

use std::time::Duration;

use dps_amqp::{Event, Frames, Limits, Server};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::encode::{AMQP, FALSE, NULL, binary, frame, list, string, uint};

/// Sends the bytes, and returns what the server sent until it closed the connection.
async fn provoke(bytes: &[u8]) -> Vec<u8> {
    let (mut near, far) = duplex(1 << 20);
    let server = tokio::spawn(async move {
        let mut frames = Frames::new(far, 4096);
        if frames.read_header().await.is_err() {
            return;
        }
        let mut server = Server::accept_connection(frames, Limits::default());
        loop {
            match server.next().await {
                Ok(Event::Attached { link, .. }) => server.accept_link(link).unwrap(),
                Ok(Event::Request(request)) => server.accept(&request).unwrap(),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    });
    near.write_all(bytes).await.unwrap();
    near.shutdown().await.unwrap();
    let mut received = Vec::new();
    let done = async {
        near.read_to_end(&mut received).await.unwrap();
        server.await.unwrap();
    };
    tokio::time::timeout(Duration::from_secs(60), done)
        .await
        .expect("the server hangs");
    received
}

fn open() -> Vec<u8> {
    frame(0, 0, &list(0x10, &[&string("test")]))
}

fn begin(channel: u16) -> Vec<u8> {
    frame(
        0,
        channel,
        &list(0x11, &[NULL, b"\x43", &uint(10), &uint(10)]),
    )
}

fn sender(handle: u32) -> Vec<u8> {
    let target = list(0x29, &[&string("a")]);
    frame(
        0,
        0,
        &list(
            0x12,
            &[
                &string("s"),
                &uint(handle),
                FALSE,
                NULL,
                NULL,
                NULL,
                &target,
                NULL,
                NULL,
                b"\x43",
            ],
        ),
    )
}

fn transfer(handle: u32, id: u32, more: &[u8], payload: &[u8]) -> Vec<u8> {
    let performative = list(
        0x14,
        &[
            &uint(handle),
            &uint(id),
            &binary(b"t"),
            b"\x43",
            FALSE,
            more,
        ],
    );
    frame(0, 0, &[performative, payload.to_vec()].concat())
}

#[tokio::test(start_paused = true)]
async fn each_violation_has_its_condition() {
    let up = [open(), begin(0)].concat();
    let endless: Vec<u8> = (0..40)
        .flat_map(|_| transfer(0, 0, b"\x41", &[0; 3000]))
        .collect();
    for (name, bytes, condition) in [
        ("begin before open", begin(0), "amqp:not-allowed"),
        (
            "a second open",
            [open(), open()].concat(),
            "amqp:not-allowed",
        ),
        (
            "a SASL frame",
            frame(1, 0, &list(0x41, &[])),
            "amqp:connection:framing-error",
        ),
        (
            "a frame type that is not known",
            frame(7, 0, b""),
            "amqp:connection:framing-error",
        ),
        (
            "a size below the header",
            b"\x00\x00\x00\x04".to_vec(),
            "amqp:connection:framing-error",
        ),
        (
            "a size above the limit",
            b"\x00\xff\xff\xff".to_vec(),
            "amqp:frame-size-too-small",
        ),
        (
            "a data offset inside the header",
            b"\x00\x00\x00\x08\x01\x00\x00\x00".to_vec(),
            "amqp:connection:framing-error",
        ),
        (
            "a data offset behind the frame",
            b"\x00\x00\x00\x08\xff\x00\x00\x00".to_vec(),
            "amqp:connection:framing-error",
        ),
        (
            "no described value",
            frame(0, 0, b"\x40"),
            "amqp:decode-error",
        ),
        (
            "another described value",
            [open(), frame(0, 0, &list(0x70, &[]))].concat(),
            "amqp:decode-error",
        ),
        (
            "a truncated value",
            frame(0, 0, b"\x00\x53\x10\xc0\x20\x01\xa1"),
            "amqp:decode-error",
        ),
        (
            "a deep value",
            frame(
                0,
                0,
                &[
                    b"\x00\x53\x10\xd0\x00\x00\x0f\x00\x00\x00\x00\x01".as_slice(),
                    &[0; 2000],
                ]
                .concat(),
            ),
            "amqp:decode-error",
        ),
        (
            "a channel without a session",
            [open(), sender(0)].concat(),
            "amqp:not-allowed",
        ),
        (
            "a second session on a channel",
            [open(), begin(1), begin(1)].concat(),
            "amqp:not-allowed",
        ),
        (
            "too many sessions",
            [open(), (0..5).flat_map(begin).collect()].concat(),
            "amqp:not-allowed",
        ),
        (
            "a second link on a handle",
            [up.clone(), sender(1), sender(1)].concat(),
            "amqp:not-allowed",
        ),
        (
            "too many links",
            [up.clone(), (0..9).flat_map(sender).collect()].concat(),
            "amqp:not-allowed",
        ),
        (
            "a transfer without a link",
            [up.clone(), transfer(3, 0, FALSE, b"")].concat(),
            "amqp:not-allowed",
        ),
        (
            "an endless message",
            [up.clone(), sender(0), endless].concat(),
            "amqp:frame-size-too-small",
        ),
        (
            "a message that is not one",
            [up, sender(0), transfer(0, 0, FALSE, b"\x40")].concat(),
            "amqp:decode-error",
        ),
    ] {
        let received = provoke(&[AMQP, &bytes].concat()).await;
        let text = String::from_utf8_lossy(&received);
        assert!(text.contains(condition), "{name}: {text:?}");
        assert!(
            received.windows(3).any(|window| window == b"\x00\x53\x18"),
            "{name}: no close"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_not_amqp_are_not_answered() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"AMQP\x00\x00\x09\x01",
        b"",
        b"\x10\x0e\x00\x04MQTT",
    ] {
        assert_eq!(provoke(bytes).await, b"", "{bytes:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any cut of the stream results in the same answers.
    #[test]
    fn the_cut_of_the_stream_does_not_matter(cuts in prop::collection::vec(0usize..600, 0..20)) {
        let bytes = [AMQP.to_vec(), open(), begin(0), sender(0), transfer(0, 0, FALSE, b"\x00\x53\x75\xa0\x01x"), frame(0, 0, &list(0x18, &[]))].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let whole = runtime.block_on(provoke(&bytes));
        let pieces = runtime.block_on(async {
            let (mut near, far) = duplex(1 << 16);
            let server = tokio::spawn(async move {
                let mut frames = Frames::new(far, 4096);
                frames.read_header().await.unwrap();
                let mut server = Server::accept_connection(frames, Limits::default());
                loop {
                    match server.next().await {
                        Ok(Event::Attached { link, .. }) => server.accept_link(link).unwrap(),
                        Ok(Event::Request(request)) => server.accept(&request).unwrap(),
                        Ok(_) => {}
                        Err(_) => return,
                    }
                }
            });
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            for piece in cuts.windows(2) {
                near.write_all(&bytes[piece[0]..piece[1]]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            near.shutdown().await.unwrap();
            let mut received = Vec::new();
            near.read_to_end(&mut received).await.unwrap();
            server.await.unwrap();
            received
        });
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn any_bytes_end_the_connection(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(provoke(&[AMQP, &bytes].concat()));
        runtime.block_on(provoke(&[AMQP, &open(), &frame(0, 0, &bytes)].concat()));
    }

    /// A flipped byte in a valid conversation.
    #[test]
    fn a_flipped_byte_never_causes_a_panic(at in 8usize..300, value in any::<u8>()) {
        let mut bytes = [AMQP.to_vec(), open(), begin(0), sender(0), transfer(0, 0, FALSE, b"\x00\x53\x75\xa0\x01x")].concat();
        let at = at % bytes.len();
        bytes[at] = value;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(provoke(&bytes));
    }
}
