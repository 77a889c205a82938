//! SASL frames as the emulator and as a device see them.
#![no_main]

mod amqp;

use std::io::Cursor;

use amqp::{Peer, frames, run};
use dps_amqp::Frames;
use dps_amqp::sasl::{self, Mechanism, SaslServer, Tpm};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let bytes = frames(b"AMQP\x03\x01\0\0", 1, input);
    let peer = || Frames::new(Peer(Cursor::new(bytes.clone())), 4096);
    run(async {
        let mut frames = peer();
        let _ = frames.read_header().await;
        if let Ok((mut server, Mechanism::Tpm { .. })) = SaslServer::accept(&mut frames).await {
            let _ = server.challenge(&mut frames, &[7; 700]).await;
        }
        let _ = sasl::plain(&mut peer(), "user", "password").await;
        let mut frames = peer();
        if let Ok((tpm, _)) = Tpm::begin(&mut frames, ("scope", "device"), &[1; 500], &[2; 500]).await {
            let _ = tpm.finish(&mut frames, "token").await;
        }
    });
});
