//! The client against the server.

use std::time::Duration;

use dps_amqp::{
    Answer, Body, Client, ClientOptions, Condition, CorrelationId, ErrorKind, Event, Frames,
    Limits, Message, Property, ProtocolHeader, Role, Server,
};
use tokio::io::{DuplexStream, duplex};

const ADDRESS: &str = "0ne00000001/registrations/toaster-7";

fn options() -> ClientOptions {
    ClientOptions::new("toaster-7-1", "localhost", ADDRESS)
        .with_link_property("com.microsoft:api-version", "2021-06-01")
}

fn request(correlation: &str, body: &[u8]) -> Message {
    Message::data(body)
        .with_correlation_id(Some(CorrelationId::text(correlation)))
        .with_property(
            "iotdps-operation-type",
            Property::Text("iotdps-register".into()),
        )
        .with_property("iotdps-forceRegistration", Property::Boolean(false))
}

/// The action of a test's server on a request.
enum Reaction {
    Echo,
    AnswerFirst,
    AnswerTwice,
    WithoutCorrelation,
    Reject(Condition),
    Detach,
    Close(Condition),
}

async fn serve(stream: DuplexStream, max_frame: usize, reaction: Reaction) {
    let mut frames = Frames::new(stream, max_frame);
    assert_eq!(frames.read_header().await.unwrap(), ProtocolHeader::Amqp);
    let mut server = Server::accept_connection(frames, Limits::default());
    let mut answers = None;
    loop {
        match server.next().await {
            Ok(Event::Attached {
                link,
                role,
                address,
                properties,
            }) => {
                assert_eq!(address.as_deref(), Some(ADDRESS));
                assert_eq!(
                    properties,
                    [(
                        "com.microsoft:api-version".to_owned(),
                        "2021-06-01".to_owned()
                    )]
                );
                if role == Role::Receiver {
                    answers = Some(link);
                }
                server.accept_link(link).unwrap();
            }
            Ok(Event::Request(request)) => {
                let Body::Data(body) = &request.message().body else {
                    panic!("no data: {request:?}");
                };
                let answer = Message::data(body.clone())
                    .with_property("retry-after", Property::Number(3))
                    .with_property("Retry-After", Property::Number(3))
                    .with_correlation_id(request.message().correlation_id.clone());
                let answers = answers.unwrap();
                match &reaction {
                    Reaction::Echo => {
                        server.accept(&request).unwrap();
                        assert!(server.send(answers, &answer).unwrap());
                    }
                    Reaction::AnswerFirst => {
                        assert!(server.send(answers, &answer).unwrap());
                        server.flush().await.unwrap();
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        server.accept(&request).unwrap();
                    }
                    Reaction::AnswerTwice => {
                        server.accept(&request).unwrap();
                        let stale = Message::data("stale")
                            .with_correlation_id(Some(CorrelationId::text("another")));
                        assert!(server.send(answers, &stale).unwrap());
                        assert!(server.send(answers, &answer).unwrap());
                    }
                    Reaction::WithoutCorrelation => {
                        server.accept(&request).unwrap();
                        assert!(
                            server
                                .send(answers, &answer.with_correlation_id(None))
                                .unwrap()
                        );
                    }
                    Reaction::Reject(condition) => {
                        server.reject(&request, condition.clone()).unwrap();
                    }
                    Reaction::Detach => {
                        server
                            .refuse_link(request.link(), Condition::new("amqp:link:detach-forced"))
                            .unwrap();
                    }
                    Reaction::Close(condition) => {
                        server.close(Some(condition.clone())).await.unwrap();
                        return;
                    }
                }
            }
            Ok(Event::Closed(_)) => server.flush().await.unwrap(),
            Ok(other) => panic!("{other:?}"),
            Err(_) => return,
        }
    }
}

async fn connect(max_frame: usize, reaction: Reaction) -> Client<DuplexStream> {
    let (near, far) = duplex(256);
    tokio::spawn(serve(far, max_frame, reaction));
    Client::open(Frames::new(near, max_frame), &options())
        .await
        .unwrap()
}

fn message(answer: Answer) -> Message {
    match answer {
        Answer::Message(message) => message,
        Answer::Rejected(condition) => panic!("{condition:?}"),
    }
}

#[tokio::test]
async fn a_request_gets_its_answer() {
    let mut client = connect(65_536, Reaction::Echo).await;

    let answer = message(client.request(&request("r1", b"{}")).await.unwrap());

    assert_eq!(answer.body, Body::Data(b"{}".to_vec()));
    assert_eq!(answer.correlation_id, Some(CorrelationId::text("r1")));
    assert_eq!(answer.retry_after(), Some(3));
    client.close().await.unwrap();
}

#[tokio::test]
async fn messages_larger_than_a_frame_arrive_whole() {
    let mut client = connect(512, Reaction::Echo).await;
    for size in [0, 1, 439, 440, 441, 5_000, 60_000] {
        let body: Vec<u8> = (0..size).map(|index| index as u8).collect();

        let answer = message(client.request(&request("big", &body)).await.unwrap());

        assert_eq!(answer.body, Body::Data(body));
    }
}

#[tokio::test]
async fn credit_and_windows_are_renewed() {
    let mut client = connect(512, Reaction::AnswerTwice).await;
    let body = vec![7; 2000];
    for number in 0..600 {
        let answer = client
            .request(&request(&number.to_string(), &body))
            .await
            .unwrap();
        assert_eq!(message(answer).body, Body::Data(body.clone()));
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_disposition_or_without_a_correlation_id() {
    for reaction in [Reaction::AnswerFirst, Reaction::WithoutCorrelation] {
        let mut client = connect(512, reaction).await;
        let answer = message(client.request(&request("r", b"x")).await.unwrap());
        assert_eq!(answer.body, Body::Data(b"x".to_vec()));
    }
}

#[tokio::test]
async fn a_rejection_keeps_its_condition_and_the_connection() {
    let condition = Condition::new("com.microsoft:device-container-throttled")
        .with_description(r#"{"errorCode":429001}"#)
        .with_retry_after(7);
    let mut client = connect(512, Reaction::Reject(condition.clone())).await;
    for _ in 0..3 {
        let answer = client.request(&request("r", b"x")).await.unwrap();
        assert_eq!(answer, Answer::Rejected(condition.clone()));
    }
}

#[tokio::test]
async fn a_detach_and_a_close_have_their_reason() {
    let closed = Condition::new("amqp:unauthorized-access").with_description("No.");
    for (reaction, expected) in [
        (Reaction::Detach, "amqp:link:detach-forced"),
        (Reaction::Close(closed), "amqp:unauthorized-access"),
    ] {
        let mut client = connect(512, reaction).await;
        let error = client.request(&request("r", b"x")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert_eq!(error.peer().unwrap().condition, expected);
    }
}

#[tokio::test]
async fn a_refused_link_has_its_reason() {
    let (near, far) = duplex(512);
    tokio::spawn(async move {
        let mut frames = Frames::new(far, 4096);
        frames.read_header().await.unwrap();
        let mut server = Server::accept_connection(frames, Limits::default());
        while let Ok(event) = server.next().await {
            if let Event::Attached { link, .. } = event {
                let condition = Condition::new("amqp:not-found").with_description("no such scope");
                server.refuse_link(link, condition).unwrap();
            }
        }
    });

    let error = Client::open(Frames::new(near, 4096), &options())
        .await
        .unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(error.peer().unwrap().condition, "amqp:not-found");
    assert_eq!(
        error.peer().unwrap().description.as_deref(),
        Some("no such scope")
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_and_a_waiting_one_is_not() {
    let (near, far) = duplex(4096);
    let server = tokio::spawn(async move {
        let mut frames = Frames::new(far, 4096);
        frames.read_header().await.unwrap();
        let mut server = Server::accept_connection(frames, Limits::default());
        loop {
            match server.next().await {
                Ok(Event::Attached { link, .. }) => server.accept_link(link).unwrap(),
                // A request that is never answered: the client keeps the connection alive while it waits.
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    });
    let mut client = Client::open(Frames::new(near, 4096), &options())
        .await
        .unwrap();
    assert_eq!(client.peer_idle_time_out(), Some(Duration::from_secs(120)));

    let asked = request("r", b"x");
    let waiting = client.request(&asked);
    assert!(
        tokio::time::timeout(Duration::from_secs(3600), waiting)
            .await
            .is_err()
    );
    assert!(!server.is_finished());
    tokio::time::sleep(Duration::from_secs(250)).await;

    assert_eq!(server.await.unwrap().kind(), ErrorKind::NotAllowed);
    let error = client.request(&request("r", b"x")).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Closed | ErrorKind::Io),
        "{error:?}"
    );
}

#[test]
fn debug_output_has_no_body() {
    let message = Message::data("a secret");
    assert!(!format!("{message:?}").contains("secret"));
}
