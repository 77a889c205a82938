//! A hub whose answers the test decides.

use crate::mqtt::server::{CONNACK, Peer, Server, publish};

pub(super) const GET: &str = "$iothub/twin/GET/?$rid=";
pub(super) const REPORT: &str = "$iothub/twin/PATCH/properties/reported/?$rid=";

/// A twin with this version of the desired properties.
pub(super) fn twin(version: u64) -> String {
    format!(
        r#"{{"desired":{{"darkness":{version},"$version":{version}}},"reported":{{"$version":1}}}}"#
    )
}

/// The connection of a device, as its hub sees it.
pub(super) struct HubPeer {
    pub(super) peer: Peer,
    pub(super) connect: Vec<u8>,
}

impl HubPeer {
    /// Accepts the next device.
    pub(super) async fn accept(server: &Server) -> Self {
        let mut peer = server.accept().await;
        let connect = peer.packet().await;
        assert_eq!(connect[0], 0x10, "CONNECT");
        peer.send(CONNACK).await;
        peer.subscribe().await;
        Self { peer, connect }
    }

    /// Reads the next packet that is not an acknowledgement.
    async fn next_publish(&mut self) -> Request {
        loop {
            let packet = self.peer.packet().await;
            if packet[0] != 0x40 {
                return Request::read(&packet);
            }
        }
    }

    /// Reads the next device-to-cloud message. Its topic has the properties.
    pub(super) async fn message(&mut self) -> Request {
        let message = self.next_publish().await;
        let is_message = message.topic.starts_with("devices/my-device/");
        assert!(is_message, "{message:?}");
        message
    }

    /// Reads the response to a direct method.
    pub(super) async fn response(&mut self) -> Request {
        let response = self.next_publish().await;
        let is_response = response.topic.starts_with("$iothub/methods/res/");
        assert!(is_response, "{response:?}");
        self.acknowledge(&response).await;
        response
    }

    pub(super) async fn acknowledge(&mut self, message: &Request) {
        self.peer
            .send(&[b"\x40\x02", &message.id[..]].concat())
            .await;
    }

    /// Sends a message with QoS 1 if it has a packet id, and else with QoS 0.
    pub(super) async fn publish(&mut self, topic: &str, id: &[u8], body: &str) {
        let first = if id.is_empty() { 0x30 } else { 0x32 };
        self.peer
            .send(&publish(first, topic, id, body.as_bytes()))
            .await;
    }

    /// Invokes a direct method.
    pub(super) async fn method(&mut self, name: &str, rid: &str, body: &str) {
        let topic = format!("$iothub/methods/POST/{name}/?$rid={rid}");
        self.publish(&topic, b"", body).await;
    }

    /// Reads the next request, which must be of this kind.
    pub(super) async fn request(&mut self, topic: &str) -> Request {
        let request = Request::read(&self.peer.packet().await);
        assert_eq!(request.topic, topic);
        request
    }

    /// Acknowledges a request, and answers it with QoS 0.
    pub(super) async fn answer(&mut self, to: &Request, status: &str, more: &str, body: &str) {
        self.peer.send(&[b"\x40\x02", &to.id[..]].concat()).await;
        let topic = format!("$iothub/twin/res/{status}/?$rid={}{more}", to.rid);
        self.peer
            .send(&publish(0x30, &topic, b"", body.as_bytes()))
            .await;
    }

    /// Answers the next request for the twin.
    pub(super) async fn answer_twin(&mut self, version: u64) {
        let request = self.request(GET).await;
        self.answer(&request, "200", "", &twin(version)).await;
    }

    /// Sends a change of the desired properties with QoS 0.
    pub(super) async fn change(&mut self, version: u64) {
        let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
        let body = format!(r#"{{"darkness":{version},"$version":{version}}}"#);
        self.peer
            .send(&publish(0x30, &topic, b"", body.as_bytes()))
            .await;
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) id: [u8; 2],
    pub(super) topic: String,
    pub(super) rid: String,
    pub(super) body: String,
}

impl Request {
    fn read(packet: &[u8]) -> Self {
        assert_eq!(packet[0], 0x32, "a PUBLISH of QoS 1: {packet:x?}");
        let rest = &packet[1 + packet[1..].iter().take_while(|byte| **byte > 127).count() + 1..];
        let (length, rest) = rest.split_first_chunk().unwrap();
        let (topic, rest) = rest.split_at(u16::from_be_bytes(*length).into());
        let (id, body) = rest.split_first_chunk().unwrap();
        let topic = std::str::from_utf8(topic).unwrap();
        // The request id, if there is one.
        let end = topic.find("$rid=").map_or(topic.len(), |at| at + 5);
        let (topic, rid) = topic.split_at(end);
        Self {
            id: *id,
            topic: topic.to_owned(),
            rid: rid.to_owned(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}
