//! A stream of MQTT packets: an accepted packet can be written and is then read as the same packet.
#![no_main]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use dps_mqtt::{ConnectCode, Packet, Packets};
use libfuzzer_sys::fuzz_target;

const MAX: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let mut packets = Packets::new(bytes, MAX);
    while let Ok(Some(packet)) = now(packets.read()) {
        assert!(!format!("{packet:?}").is_empty());
        match &packet {
            // Only read.
            Packet::Connect(connect) if connect.has_will => continue,
            Packet::ConnAck { code: ConnectCode::Unknown(_), .. } => continue,
            _ => {}
        }
        let mut out = Packets::new(Vec::new(), MAX);
        now(out.write(packet.clone())).expect("an accepted value can be written");
        let written = out.into_inner();
        assert!(written.len() <= bytes.len());
        let mut again = Packets::new(&written[..], MAX);
        assert_eq!(now(again.read()).expect("a written value can be read"), Some(packet));
        assert!(matches!(now(again.read()), Ok(None)));
    }
});

/// The stream is in memory, so the future is always ready.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("memory is always ready"),
    }
}
