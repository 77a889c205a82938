//! The forms in which Microsoft's SDKs send a registration, as bytes, against the server.

use dps_amqp::{Body, CorrelationId, Event, Frames, Limits, Message, Property, Role, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::encode::{
    AMQP, FALSE, NULL, TRUE, binary, described, frame, list, map, string, symbol, uint, ushort,
};

/// The bytes with which a peer opens its connection, and one request.
struct Peer {
    open: Vec<u8>,
    receiver: Vec<u8>,
    sender: Vec<u8>,
    request: Vec<u8>,
}

/// The bytes that the server received.
#[derive(Debug)]
struct Seen {
    addresses: Vec<(Role, Option<String>)>,
    api_version: Option<String>,
    message: Message,
}

fn terminus(code: u8, address: &str) -> Vec<u8> {
    list(code, &[&string(address)])
}

fn attach(
    name: &str,
    handle: u32,
    receiver: bool,
    source: &[u8],
    target: &[u8],
    properties: &[u8],
) -> Vec<u8> {
    let (role, count) = if receiver {
        (TRUE, NULL)
    } else {
        (FALSE, b"\x43".as_slice())
    };
    list(
        0x12,
        &[
            &string(name),
            &uint(handle),
            role,
            NULL,
            NULL,
            source,
            target,
            NULL,
            NULL,
            count,
            NULL,
            NULL,
            NULL,
            properties,
        ],
    )
}

fn transfer(handle: u32, payload: &[u8]) -> Vec<u8> {
    let performative = list(
        0x14,
        &[&uint(handle), b"\x43", &binary(b"\x00"), b"\x43", FALSE],
    );
    [performative, payload.to_vec()].concat()
}

fn register_properties(extra: &[&[u8]]) -> Vec<u8> {
    let entries: Vec<&[u8]> = extra.to_vec();
    described(0x74, &map(&entries))
}

/// azure-iot-sdk-c: addresses are URLs, the smallest set of properties, no correlation id.
fn c() -> Peer {
    let url = "amqps://localhost/0ne1/registrations/d1";
    let properties = map(&[&symbol("com.microsoft:api-version"), &string("2021-06-01")]);
    let (kind, register) = (string("iotdps-operation-type"), string("iotdps-register"));
    Peer {
        open: list(
            0x10,
            &[
                &string("prov_connection"),
                &string("localhost"),
                &uint(u32::MAX),
                &ushort(u16::MAX),
            ],
        ),
        receiver: attach(
            "recv_link",
            0,
            true,
            &terminus(0x28, url),
            &terminus(0x29, "local_endpoint"),
            &properties,
        ),
        sender: attach(
            "sender_link",
            1,
            false,
            &terminus(0x28, "remote_endpoint"),
            &terminus(0x29, url),
            &properties,
        ),
        request: transfer(
            1,
            &[
                register_properties(&[&kind, &register]),
                described(0x75, &binary(br#"{"registrationId":"d1"}"#)),
            ]
            .concat(),
        ),
    }
}

/// azure-iot-sdk-csharp: one GUID for all correlation ids, a boolean property, a body in a value section.
fn csharp() -> Peer {
    let address = "0ne1/registrations/d1";
    let properties = map(&[
        &symbol("com.microsoft:client-version"),
        &string("Microsoft.Azure.Devices.Provisioning.Transport.Amqp/1.19.3"),
        &symbol("com.microsoft:api-version"),
        &string("2019-03-31"),
    ]);
    let correlation = string("6f9619ff-8b86-d011-b42d-00cf4fc964ff");
    let (kind, status) = (
        string("iotdps-operation-type"),
        string("iotdps-get-operationstatus"),
    );
    let (id_key, id) = (string("iotdps-operation-id"), string("4.op.1"));
    let (force, no) = (string("iotdps-forceRegistration"), FALSE);
    Peer {
        open: list(
            0x10,
            &[
                &string("container"),
                &string("localhost"),
                &uint(65_536),
                &ushort(4),
                NULL,
            ],
        ),
        receiver: attach("r", 0, true, &terminus(0x28, address), NULL, &properties),
        sender: attach("s", 1, false, NULL, &terminus(0x29, address), &properties),
        request: transfer(
            1,
            &[
                list(0x73, &[NULL, NULL, NULL, NULL, NULL, &correlation]),
                register_properties(&[&kind, &status, &id_key, &id, &force, no]),
                described(0x77, &string("iotdps-get-operationstatus")),
            ]
            .concat(),
        ),
    }
}

/// azure-iot-sdk-java: a leading slash, the host with its port, no body section in a poll.
fn java() -> Peer {
    let address = "/0ne1/registrations/d1";
    let properties = map(&[
        &symbol("com.microsoft:api-version"),
        &string("2019-03-31"),
        &symbol("com.microsoft:client-version"),
        &string("com.microsoft.azure.sdk.iot.dps.dps-device-client/2.1.2"),
    ]);
    let (kind, status) = (
        string("iotdps-operation-type"),
        string("iotdps-get-operationstatus"),
    );
    let (id_key, id) = (string("iotdps-operation-id"), string("4.op.1"));
    Peer {
        open: list(
            0x10,
            &[
                &string("java"),
                &string("localhost:5671"),
                &uint(u32::MAX),
                &ushort(u16::MAX),
            ],
        ),
        receiver: attach(
            "provision_receiver_link",
            0,
            true,
            &terminus(0x28, address),
            &terminus(0x29, ""),
            &properties,
        ),
        sender: attach(
            "provision_sender_link",
            0x7,
            false,
            &terminus(0x28, ""),
            &terminus(0x29, address),
            &properties,
        ),
        request: transfer(7, &register_properties(&[&kind, &status, &id_key, &id])),
    }
}

async fn exchange(peer: &Peer) -> (Seen, Vec<u8>) {
    let (mut near, far) = duplex(65_536);
    let server = tokio::spawn(serve(far));
    near.write_all(AMQP).await.unwrap();
    let begin = list(0x11, &[NULL, b"\x43", &uint(2_147_483_647), &uint(65_536)]);
    for body in [&peer.open, &begin, &peer.receiver, &peer.sender] {
        near.write_all(&frame(0, 0, body)).await.unwrap();
    }
    // One credit for the answer: a delivery before it would break the protocol.
    near.write_all(&frame(0, 0, &peer.request)).await.unwrap();
    let credit = list(
        0x13,
        &[
            b"\x43",
            &uint(100),
            b"\x43",
            &uint(100),
            b"\x43",
            b"\x43",
            &uint(1),
        ],
    );
    near.write_all(&frame(0, 0, &credit)).await.unwrap();
    near.write_all(&frame(0, 0, &list(0x18, &[])))
        .await
        .unwrap();
    let mut received = Vec::new();
    near.read_to_end(&mut received).await.unwrap();
    (server.await.unwrap(), received)
}

async fn serve(stream: DuplexStream) -> Seen {
    let mut frames = Frames::new(stream, 65_536);
    frames.read_header().await.unwrap();
    let mut server = Server::accept_connection(frames, Limits::default());
    let (mut addresses, mut api_version, mut answers, mut message) = (Vec::new(), None, None, None);
    while let Ok(event) = server.next().await {
        match event {
            Event::Attached {
                link,
                role,
                address,
                properties,
            } => {
                if role == Role::Receiver {
                    answers = Some(link);
                }
                addresses.push((role, address));
                let version = properties
                    .into_iter()
                    .find(|(key, _)| key == "com.microsoft:api-version");
                api_version = version.map(|(_, value)| value);
                server.accept_link(link).unwrap();
            }
            Event::Request(request) => {
                server.accept(&request).unwrap();
                let answer = Message::data(r#"{"operationId":"4.op.1","status":"assigning"}"#)
                    .with_property("retry-after", Property::Number(3))
                    .with_property("Retry-After", Property::Number(3))
                    .with_correlation_id(request.message().correlation_id.clone());
                assert!(server.send(answers.unwrap(), &answer).unwrap());
                message = Some(request.message().clone());
            }
            Event::Closed(_) => {
                server.flush().await.unwrap();
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    Seen {
        addresses,
        api_version,
        message: message.unwrap(),
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn the_requests_of_the_c_sdk_are_read() {
    let (seen, received) = exchange(&c()).await;
    let url = Some("amqps://localhost/0ne1/registrations/d1".to_owned());

    assert_eq!(
        seen.addresses,
        [(Role::Receiver, url.clone()), (Role::Sender, url)]
    );
    assert_eq!(seen.api_version.as_deref(), Some("2021-06-01"));
    assert_eq!(
        seen.message.text_property("iotdps-operation-type"),
        Some("iotdps-register")
    );
    assert_eq!(
        seen.message.body,
        Body::Data(br#"{"registrationId":"d1"}"#.to_vec())
    );
    assert_eq!(seen.message.correlation_id, None);
    // The answer's data section, its delay as an AMQP int, and the accepted disposition.
    assert!(contains(
        &received,
        b"\x00\x53\x75\xa0\x2d{\"operationId\":\"4.op.1\",\"status\":\"assigning\"}"
    ));
    assert!(contains(&received, b"\xa1\x0bretry-after\x54\x03"));
    assert!(contains(&received, b"\xa1\x0bRetry-After\x54\x03"));
    assert!(contains(&received, b"\x00\x53\x24"));
    // The C SDK logs an error when an attach has no max-message-size: 65,536 as ulong.
    assert!(contains(&received, b"\x80\x00\x00\x00\x00\x00\x01\x00\x00"));
}

#[tokio::test]
async fn the_requests_of_the_csharp_sdk_are_read() {
    let (seen, received) = exchange(&csharp()).await;

    assert_eq!(
        seen.addresses[0].1.as_deref(),
        Some("0ne1/registrations/d1")
    );
    assert_eq!(
        seen.message.text_property("iotdps-operation-id"),
        Some("4.op.1")
    );
    assert_eq!(
        seen.message.property("iotdps-forceRegistration"),
        Some(&Property::Boolean(false))
    );
    assert_eq!(
        seen.message.body,
        Body::Text("iotdps-get-operationstatus".into())
    );
    let id = "6f9619ff-8b86-d011-b42d-00cf4fc964ff";
    assert_eq!(seen.message.correlation_id, Some(CorrelationId::text(id)));
    assert!(
        contains(&received, id.as_bytes()),
        "the correlation id comes back"
    );
}

#[tokio::test]
async fn the_requests_of_the_java_sdk_are_read() {
    let (seen, _) = exchange(&java()).await;

    assert_eq!(
        seen.addresses[1].1.as_deref(),
        Some("/0ne1/registrations/d1")
    );
    assert_eq!(seen.message.body, Body::None);
    assert_eq!(
        seen.message.text_property("iotdps-operation-type"),
        Some("iotdps-get-operationstatus")
    );
}

#[tokio::test]
async fn a_correlation_id_of_another_type_is_returned_unchanged() {
    let mut peer = csharp();
    for id in [
        &b"\x80\x00\x00\x00\x00\x00\x00\x00\x2a"[..],
        b"\x98\x6f\x96\x19\xff\x8b\x86\xd0\x11\xb4\x2d\x00\xcf\x4f\xc9\x64\xff",
        b"\xa0\x03abc",
    ] {
        peer.request = transfer(
            1,
            &[
                list(0x73, &[NULL, NULL, NULL, NULL, NULL, id]),
                described(0x75, &binary(b"{}")),
            ]
            .concat(),
        );
        let (_, received) = exchange(&peer).await;
        let short = b"\x53\x2a";
        assert!(
            contains(&received, id) || contains(&received, short),
            "{id:02x?}"
        );
    }
}
