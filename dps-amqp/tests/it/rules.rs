//! Servers whose frames are well-formed, and not allowed at this point: the client ends with an error at once.

use std::time::Duration;

use dps_amqp::{Answer, Body, Client, ClientOptions, Error, ErrorKind, Frames, Message};
use tokio::io::{AsyncWriteExt, duplex};

use crate::encode::{
    AMQP, FALSE, NULL, TRUE, binary, described, frame, list, string, symbol, uint, ushort,
};

/// The server's channel, and its handles of the links that carry answers and requests.
const CHANNEL: u16 = 3;
const ANSWERS: u32 = 7;
const REQUESTS: u32 = 9;

/// The client against a server that sends these bytes and keeps the connection open.
async fn ask(bytes: &[u8]) -> Result<Answer, Error> {
    ask_with(bytes, Message::data("{}")).await
}

async fn ask_with(bytes: &[u8], request: Message) -> Result<Answer, Error> {
    let (near, mut far) = duplex(1 << 16);
    far.write_all(&[AMQP, bytes].concat()).await.unwrap();
    let options = ClientOptions::new("device", "localhost", "0ne1/registrations/d1");
    let asked = async {
        let mut client = Client::open(Frames::new(near, 4096), &options).await?;
        client.request(&request).await
    };
    tokio::time::timeout(Duration::from_secs(3600), asked)
        .await
        .expect("the client waits for another frame")
}

fn open() -> Vec<u8> {
    frame(0, 0, &list(0x10, &[&string("server")]))
}

fn begin(remote: &[u8]) -> Vec<u8> {
    begin_with_window(remote, 100)
}

fn begin_with_window(remote: &[u8], window: u32) -> Vec<u8> {
    let windows = uint(window);
    frame(
        0,
        CHANNEL,
        &list(0x11, &[remote, &uint(0), &windows, &windows]),
    )
}

/// An attach of the server: as the sender of answers, or as the receiver of requests.
fn attach(name: &str, handle: u32, is_receiver: bool) -> Vec<u8> {
    let (role, count) = match is_receiver {
        true => (TRUE, NULL.to_vec()),
        false => (FALSE, uint(5)),
    };
    let (source, target) = (list(0x28, &[&string("a")]), list(0x29, &[&string("a")]));
    let (name, handle) = (string(name), uint(handle));
    let fields = [
        &name[..],
        &handle,
        role,
        NULL,
        NULL,
        &source,
        &target,
        NULL,
        NULL,
        &count,
    ];
    frame(0, CHANNEL, &list(0x12, &fields))
}

fn answers() -> Vec<u8> {
    attach("device-receiver", ANSWERS, false)
}

fn requests() -> Vec<u8> {
    attach("device-sender", REQUESTS, true)
}

fn flow(handle: &[u8]) -> Vec<u8> {
    let (zero, window, credit) = (uint(0), uint(100), uint(10));
    let fields = [&zero[..], &window, &zero, &window, handle, &zero, &credit];
    frame(0, CHANNEL, &list(0x13, &fields))
}

/// A flow that allows requests, and one transfer.
fn credit_only() -> Vec<u8> {
    let (zero, one, handle) = (uint(0), uint(1), uint(REQUESTS));
    let fields = [&zero[..], &one, &zero, &one, &handle, &zero, &one];
    frame(0, CHANNEL, &list(0x13, &fields))
}

fn transfer(handle: u32) -> Vec<u8> {
    let (handle, id, tag) = (uint(handle), uint(0), binary(b"t"));
    let performative = list(0x14, &[&handle, &id, &tag, &uint(0), TRUE]);
    let message = described(0x75, &binary(b"{}"));
    frame(0, CHANNEL, &[performative, message].concat())
}

/// A transfer of this delivery with the flags `more` and `aborted`.
fn part(id: u32, more: bool, aborted: bool) -> Vec<u8> {
    let (handle, id, tag) = (uint(ANSWERS), uint(id), binary(b"t"));
    let flag = |is_set| if is_set { TRUE } else { FALSE };
    let fields = [
        &handle[..],
        &id,
        &tag,
        &uint(0),
        FALSE,
        flag(more),
        NULL,
        NULL,
        NULL,
        flag(aborted),
    ];
    let message = described(0x75, &binary(b"{}"));
    frame(0, CHANNEL, &[list(0x14, &fields), message].concat())
}

fn accepted(request: u32) -> Vec<u8> {
    let fields = [TRUE, &uint(request), NULL, TRUE, &list(0x24, &[])];
    frame(0, CHANNEL, &list(0x15, &fields))
}

fn detach(handle: u32) -> Vec<u8> {
    frame(0, CHANNEL, &list(0x16, &[&uint(handle), TRUE]))
}

/// A frame on another channel.
fn elsewhere(mut frame: Vec<u8>) -> Vec<u8> {
    frame[7] += 1;
    frame
}

#[tokio::test(start_paused = true)]
async fn a_server_has_its_own_channel_handles_and_delivery_count() {
    let answer = ask(&[
        open(),
        begin(&ushort(0)),
        answers(),
        requests(),
        flow(&uint(REQUESTS)),
        flow(NULL),
        accepted(0),
        transfer(ANSWERS),
    ]
    .concat())
    .await
    .unwrap();
    let Answer::Message(message) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(message.body, Body::Data(b"{}".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_not_allowed_ends_the_connection_at_once() {
    let opened = open();
    let begun = [opened.clone(), begin(&ushort(0))].concat();
    let ready = [begun.clone(), answers(), requests(), flow(&uint(REQUESTS))].concat();
    let cases: Vec<(&str, &[u8], Vec<u8>, &str)> = vec![
        (
            "a begin before the open",
            b"",
            begin(&ushort(0)),
            "begin before an open",
        ),
        (
            "an attach before the open",
            b"",
            answers(),
            "attach before an open",
        ),
        ("a second open", &opened, open(), "a second open"),
        (
            "an attach before the begin",
            &opened,
            answers(),
            "attach before a begin",
        ),
        (
            "a flow before the begin",
            &opened,
            flow(NULL),
            "flow before a begin",
        ),
        (
            "a transfer before the begin",
            &opened,
            transfer(ANSWERS),
            "transfer before a begin",
        ),
        (
            "a disposition before the begin",
            &opened,
            accepted(0),
            "disposition before a begin",
        ),
        (
            "a detach before the begin",
            &opened,
            detach(ANSWERS),
            "detach before a begin",
        ),
        (
            "an end before the begin",
            &opened,
            frame(0, CHANNEL, &list(0x17, &[])),
            "end before a begin",
        ),
        (
            "a session of the server",
            &opened,
            begin(NULL),
            "a session that was not requested",
        ),
        (
            "an answer to another begin",
            &opened,
            begin(&ushort(4)),
            "a session that was not requested",
        ),
        ("an open after the begin", &begun, open(), "a second open"),
        (
            "a second begin",
            &begun,
            begin(&ushort(0)),
            "a second begin",
        ),
        (
            "a second begin on another channel",
            &begun,
            elsewhere(begin(&ushort(0))),
            "a second begin",
        ),
        (
            "an attach on another channel",
            &begun,
            elsewhere(answers()),
            "which has no session",
        ),
        (
            "a link of the server",
            &begun,
            attach("another", ANSWERS, false),
            "a link that was not requested",
        ),
        (
            "an attach with the wrong role",
            &begun,
            attach("device-receiver", ANSWERS, true),
            "a link that was not requested",
        ),
        (
            "a disposition before the attach",
            &begun,
            accepted(0),
            "disposition before an attach",
        ),
        (
            "a flow of no link",
            &begun,
            flow(&uint(ANSWERS)),
            "which has no link",
        ),
        (
            "a transfer of no link",
            &begun,
            transfer(ANSWERS),
            "which has no link",
        ),
        (
            "a detach of no link",
            &begun,
            detach(ANSWERS),
            "which has no link",
        ),
        (
            "a second attach",
            &begun,
            [answers(), answers()].concat(),
            "a second attach",
        ),
        (
            "two links with one handle",
            &begun,
            [answers(), attach("device-sender", ANSWERS, true)].concat(),
            "two links to one handle",
        ),
        (
            "an answer without credit",
            &begun,
            [answers(), transfer(ANSWERS)].concat(),
            "without credit",
        ),
        ("an open after the attach", &ready, open(), "a second open"),
        (
            "a begin after the attach",
            &ready,
            begin(&ushort(0)),
            "a second begin",
        ),
        (
            "an attach in place of an answer",
            &ready,
            answers(),
            "a second attach",
        ),
        (
            "an answer on the link for requests",
            &ready,
            transfer(REQUESTS),
            "no link for answers",
        ),
        (
            "an outcome of another request",
            &ready,
            accepted(1),
            "a request that was not sent",
        ),
        (
            "a SASL frame",
            &ready,
            frame(1, 0, &list(0x40, &[&symbol("PLAIN")])),
            "a SASL frame arrived after",
        ),
    ];
    for (name, before, bytes, expected) in cases {
        let error = ask(&[before, &bytes].concat()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAllowed, "{name}: {error}");
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
}

/// A server may refuse a connection with nothing but a close.
#[tokio::test(start_paused = true)]
async fn a_close_is_reported_in_every_state() {
    let condition = described(0x1d, &list(0, &[&symbol("amqp:not-found")])[3..]);
    let close = frame(0, 0, &list(0x18, &[&condition]));
    let begun = [open(), begin(&ushort(0))].concat();
    for before in [vec![], open(), begun.clone(), [begun, answers()].concat()] {
        let error = ask(&[before, close.clone(), open()].concat())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        assert_eq!(error.peer().unwrap().condition, "amqp:not-found");
    }
}

/// AMQP 2.6.3 has an attach before it, but a reason is more useful than a violation.
#[tokio::test(start_paused = true)]
async fn a_detach_with_an_error_is_reported_without_an_attach() {
    let error = described(
        0x1d,
        &list(
            0,
            &[&symbol("amqp:unauthorized-access"), &string("no group")],
        )[3..],
    );
    let detach = frame(0, CHANNEL, &list(0x16, &[&uint(0), TRUE, &error]));
    let begun = [open(), begin(&ushort(0))].concat();
    for before in [begun.clone(), [begun, answers()].concat()] {
        let error = ask(&[before, detach.clone()].concat()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
        let condition = error.peer().unwrap();
        assert_eq!(condition.condition, "amqp:unauthorized-access");
        assert_eq!(condition.description.as_deref(), Some("no group"));
    }
}

/// Every other delivery is aborted, and the server has used all of the credit that it got first.
#[tokio::test(start_paused = true)]
async fn an_aborted_delivery_uses_credit_which_is_renewed() {
    let mut bytes = [
        open(),
        begin(&ushort(0)),
        answers(),
        requests(),
        flow(&uint(REQUESTS)),
        accepted(0),
    ]
    .concat();
    for id in 0..40 {
        bytes.extend([part(id, true, false), part(id, false, true)].concat());
    }
    bytes.extend(part(40, false, false));
    let answer = ask(&bytes).await.unwrap();
    let Answer::Message(message) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(message.body, Body::Data(b"{}".to_vec()));
}

/// The window of the session is one transfer, and the request has two or more.
#[tokio::test(start_paused = true)]
async fn an_outcome_and_an_answer_are_kept_while_the_request_waits_for_the_window() {
    let answer = ask_with(
        &[
            open(),
            begin_with_window(&ushort(0), 1),
            answers(),
            requests(),
            credit_only(),
            accepted(0),
            transfer(ANSWERS),
            flow(NULL),
        ]
        .concat(),
        Message::data("x".repeat(5000)),
    )
    .await
    .unwrap();
    let Answer::Message(message) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(message.body, Body::Data(b"{}".to_vec()));
}
