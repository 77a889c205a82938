//! A device on MQTT, over TLS or WebSocket.

use serde_json::Value;

use super::{
    ACCEPTED, Connect, FILTER, NOT_AUTHORIZED, REGISTER, STATUS, Transport, publish, subscribe,
};

pub(crate) struct Client<C> {
    pub(crate) transport: C,
    incoming: Vec<u8>,
}

/// A PUBLISH of the server.
#[derive(Debug)]
pub(crate) struct Response {
    /// Type and flags.
    pub(crate) first: u8,
    pub(crate) packet_id: Option<u16>,
    pub(crate) topic: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts an error body: its code, its message, and that support could trace it.
    #[track_caller]
    pub(crate) fn assert_error(&self, code: u64, message: &str) {
        let body = self.json();
        assert_eq!(body["errorCode"], code, "{body}");
        assert_eq!(body["message"], message, "{body}");
        let tracking = body["trackingId"].as_str().unwrap_or_default();
        assert_eq!(tracking.len(), 36, "{body}");
        assert!(body["timestampUtc"].is_string(), "{body}");
    }
}

impl<C: Transport> Client<C> {
    pub(crate) fn over(transport: C) -> Self {
        Self {
            transport,
            incoming: Vec::new(),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.transport.send(bytes).await;
    }

    /// Asserts that the next bytes are these.
    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: &[u8]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let read = self.take(bytes.len()).await;
            assert_eq!(read.as_deref(), Some(bytes), "{caller}");
        }
    }

    /// Asserts that the server sends nothing more and closes the connection.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let rest = std::mem::take(&mut self.incoming);
            assert!(rest.is_empty(), "{rest:?} at {caller}");
            let more = self.transport.receive().await;
            assert_eq!(more, None, "{caller}");
        }
    }

    /// Connects, and asserts that the server accepts.
    #[track_caller]
    pub(crate) fn connect(&mut self, connect: &Connect) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            self.send(&connect.bytes()).await;
            let read = self.take(4).await;
            assert_eq!(read.as_deref(), Some(ACCEPTED), "{caller}");
        }
    }

    /// Connects. Returns false if the server refuses the credentials.
    pub(crate) async fn try_connect(&mut self, connect: &Connect) -> bool {
        self.send(&connect.bytes()).await;
        match self.take(4).await.as_deref() {
            Some(ACCEPTED) => true,
            Some(NOT_AUTHORIZED) => false,
            other => panic!("neither accepted nor refused: {other:?}"),
        }
    }

    /// Returns the next bytes as they arrive, or `None` if the server closes the connection.
    pub(crate) async fn transport_answer(&mut self) -> Option<Vec<u8>> {
        self.transport.receive().await
    }

    /// Subscribes to responses, with QoS 1.
    pub(crate) async fn subscribe(&mut self) {
        self.send(&subscribe(1, &[(FILTER, 1)])).await;
        self.expect(b"\x90\x03\x00\x01\x01").await;
    }

    /// The next packet is a PUBLISH. One of QoS 1 is acknowledged.
    pub(crate) async fn response(&mut self) -> Response {
        self.next_response().await.expect("the connection is open")
    }

    /// The next packet is a PUBLISH, or the server closes the connection. A PUBLISH of QoS 1 is acknowledged.
    pub(crate) async fn next_response(&mut self) -> Option<Response> {
        let first = self.take(1).await?[0];
        let body = self.body().await;
        assert_eq!(first & 0xF0, 0x30, "not a PUBLISH: {first:02x} {body:02x?}");
        let (topic, rest) = split(&body);
        let topic = String::from_utf8(topic.to_vec()).expect("a topic is text");
        let (packet_id, rest) = match first & 0x06 {
            0 => (None, rest),
            _ => (Some(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
        };
        let response = Response {
            first,
            packet_id,
            topic,
            body: rest.to_vec(),
        };
        if let Some(id) = packet_id {
            let [high, low] = id.to_be_bytes();
            self.send(&[0x40, 0x02, high, low]).await;
        }
        Some(response)
    }

    /// Publishes with QoS 1. Asserts the acknowledgement and returns the response.
    pub(crate) async fn ask(&mut self, topic: &str, body: &[u8]) -> Response {
        self.send(&publish(7, topic, body)).await;
        self.expect(b"\x40\x02\x00\x07").await;
        self.response().await
    }

    /// Registers with this body and returns the operation's id.
    pub(crate) async fn register(&mut self, body: &[u8]) -> String {
        let response = self.ask(&format!("{REGISTER}r"), body).await;
        let topic = "$dps/registrations/res/202/?$rid=r&retry-after=0";
        assert_eq!(response.topic, topic, "{response:?}");
        let document = response.json();
        assert_eq!(document["status"], "assigning", "{document}");
        document["operationId"].as_str().expect("an id").to_owned()
    }

    /// Polls until the operation is complete. Returns the last document.
    pub(crate) async fn finish(&mut self, operation: &str) -> Value {
        let topic = format!("{STATUS}p&operationId={operation}");
        loop {
            let response = self.ask(&topic, b" ").await;
            match response.topic.as_str() {
                "$dps/registrations/res/200/?$rid=p" => return response.json(),
                "$dps/registrations/res/202/?$rid=p&retry-after=0" => {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                _ => panic!("{response:?}"),
            }
        }
    }

    /// Registers and polls until the operation is complete.
    pub(crate) async fn provision(&mut self) -> Value {
        let operation = self.register(b"{}").await;
        self.finish(&operation).await
    }

    /// The next packet: type and flags, and its body.
    pub(crate) async fn packet(&mut self) -> (u8, Vec<u8>) {
        let first = self.must_take(1).await[0];
        (first, self.body().await)
    }

    /// The rest of a packet: its length and its body.
    async fn body(&mut self) -> Vec<u8> {
        let (mut length, mut shift) = (0, 0);
        loop {
            let digit = self.must_take(1).await[0];
            length |= usize::from(digit & 0x7F) << shift;
            shift += 7;
            if digit & 0x80 == 0 {
                break;
            }
        }
        self.must_take(length).await
    }

    async fn must_take(&mut self, length: usize) -> Vec<u8> {
        self.take(length).await.expect("the connection is open")
    }

    /// Returns this number of bytes, or `None` if the server closes the connection before.
    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.incoming.len() < length {
            self.incoming.extend(self.transport.receive().await?);
        }
        Some(self.incoming.drain(..length).collect())
    }
}

/// A text with its length before it, and the rest.
fn split(body: &[u8]) -> (&[u8], &[u8]) {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    body[2..].split_at(length)
}
