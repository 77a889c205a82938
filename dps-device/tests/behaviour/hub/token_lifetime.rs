//! Token lifetimes down to one second: the connection is replaced before its password expires.

use std::time::{Duration, SystemTime};

use dps_device::Clock;
use tokio::time::{advance, pause, resume};

use super::device::Device;
use super::peer::HubPeer;
use super::{HUB, at_server};
use crate::mqtt::server::Server;
use crate::mqtt::{MqttKind, SECOND};
use crate::pki::Pki;
use crate::script::Script;

/// A clock that is stopped just before the end of a second.
#[derive(Debug)]
struct EndOfSecond;

impl Clock for EndOfSecond {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_900)
    }
}

async fn skip(milliseconds: u64) {
    pause();
    advance(Duration::from_millis(milliseconds)).await;
    resume();
}

#[tokio::test]
async fn a_token_is_valid_for_its_whole_lifetime() {
    let client = Script::new([]).client().with_clock(EndOfSecond);
    let hub = client.hub_at(HUB.parse().unwrap(), "my-device".parse().unwrap());
    for (lifetime, expiry) in [(0, 1_700_000_002), (1, 1_700_000_002), (9, 1_700_000_010)] {
        let hub = hub.clone().with_token_lifetime(lifetime * SECOND);
        let password = hub.password().await.unwrap().unwrap();
        let expected = SystemTime::UNIX_EPOCH + Duration::from_secs(expiry);
        assert_eq!(password.expires_at(), expected, "{lifetime}");
    }
}

#[tokio::test]
async fn a_connection_with_a_token_of_one_second_is_replaced_after_half_a_second() {
    let pki = Pki::new();
    let server = Server::start(MqttKind::Mqtt, pki.server(false)).await;
    let client = Script::new([]).client().with_clock(EndOfSecond);
    let hub = client.hub_at(HUB.parse().unwrap(), "my-device".parse().unwrap());
    let hub = at_server(hub, MqttKind::Mqtt, &pki, server.port()).with_token_lifetime(SECOND);
    let device = async {
        let mut device = Device::follow(&hub).await;
        [device.version().await, device.version().await]
    };
    let script = async {
        for _ in 0..3 {
            let mut peer = HubPeer::accept(&server).await;
            peer.answer_twin(1).await;
            skip(501).await;
            assert_eq!(peer.peer.packet().await, b"\xe0\x00", "DISCONNECT");
            peer.peer.closed().await;
        }
        let mut peer = HubPeer::accept(&server).await;
        peer.answer_twin(2).await;
        peer
    };
    let (versions, _peer) = tokio::join!(device, script);
    assert_eq!(versions, [(true, 1), (true, 2)]);
}
