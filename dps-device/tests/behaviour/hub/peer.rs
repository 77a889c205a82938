//! A hub whose answers the test decides.

use crate::mqtt::server::{CONNACK, Peer, Server, publish};

/// Subscribes to both filters in one packet, with QoS 1.
pub(super) const SUBSCRIBE: &[u8] = b"\x82\x41\x00\x01\x00\x12$iothub/twin/res/#\x01\x00\x27$iothub/twin/PATCH/properties/desired/#\x01";
pub(super) const SUBACK: &[u8] = b"\x90\x04\x00\x01\x01\x01";

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
        assert_eq!(peer.packet().await, SUBSCRIBE);
        peer.send(SUBACK).await;
        Self { peer, connect }
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

#[derive(Debug)]
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
        let (topic, rid) = topic.split_at(topic.find('=').unwrap() + 1);
        Self {
            id: *id,
            topic: topic.to_owned(),
            rid: rid.to_owned(),
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}
