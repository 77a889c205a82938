//! Answers over AMQP to requests that arrive together.

use std::time::Duration;

use dps_amqp::{Client, ClientOptions, CorrelationId, Frames, Message, Property, sasl};
use dps_emulator::fault::{Effect, Fault, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex};
use tokio::time::timeout;

use crate::common::{Dps, KEY_1, TIMEOUT, connect, tls, token};

const ADDRESS: &str = "0ne00000001/registrations/dev-1";
const BYTES: usize = 64 * 1024;

fn request(operation: &str, id: &str) -> Message {
    let mut request = Message::data("{}")
        .with_property("iotdps-operation-type", Property::Text(operation.into()))
        .with_property("iotdps-operation-id", Property::Text("none".into()));
    request.correlation_id = Some(CorrelationId::text(id));
    request
}

/// Sends a registration and then a poll in one write, and returns the bytes of the emulator until they contain the answer to the
/// registration, or until the end of the connection.
async fn answers(dps: &Dps) -> String {
    let stream = connect(dps.emulator.amqp_port(), tls(dps.emulator.ca_pem(), None)).await;
    let mut emulator = stream.expect("TLS");
    let (near, mut far) = duplex(BYTES);
    let opened = async {
        let mut frames = Frames::new(near, BYTES);
        let token = token("dev-1", KEY_1);
        let login = sasl::plain(&mut frames, ADDRESS, &token).await;
        login.expect("accepted");
        let options = ClientOptions::new("pipeline", "localhost", ADDRESS)
            .with_link_property("com.microsoft:api-version", "2019-03-31");
        Client::open(frames, &options).await.expect("open")
    };
    let mut client = tokio::select! {
        client = opened => client,
        ended = copy_bidirectional(&mut far, &mut emulator) => panic!("{ended:?}"),
    };
    let first = request("iotdps-register", "first");
    tokio::select! {
        biased;
        answer = client.request(&first) => panic!("it was not sent: {answer:?}"),
        () = tokio::task::yield_now() => {}
    }
    let second = request("iotdps-get-operationstatus", "second");
    let received = async {
        let mut sent = vec![0; BYTES];
        let length = far.read(&mut sent).await.expect("two requests");
        sent.truncate(length);
        emulator.write_all(&sent).await.expect("sent");
        emulator.flush().await.expect("sent");
        let mut received = Vec::new();
        loop {
            let read = emulator.read_buf(&mut received).await;
            let text = String::from_utf8_lossy(&received).into_owned();
            if text.contains("assigning") || !matches!(read, Ok(1..)) {
                return text;
            }
        }
    };
    let received = async {
        tokio::select! {
            biased;
            answer = client.request(&second) => panic!("nothing was passed on: {answer:?}"),
            received = received => received,
        }
    };
    let received = timeout(TIMEOUT, received).await;
    received.expect("the answer to the registration")
}

#[tokio::test]
async fn an_answer_does_not_wait_for_a_slow_request() {
    let dps = Dps::with_device().await;
    let slow = Effect::Delay(Duration::from_secs(3600));
    dps.emulator.faults().next(Fault::new(Step::Poll, slow));
    let received = answers(&dps).await;
    assert!(received.contains("assigning"), "{received}");
}

#[tokio::test]
async fn an_answer_is_sent_before_a_fault_closes_the_connection() {
    let dps = Dps::with_device().await;
    dps.emulator
        .faults()
        .next(Fault::new(Step::Poll, Effect::Drop));
    let received = answers(&dps).await;
    assert!(received.contains("assigning"), "{received}");
}
