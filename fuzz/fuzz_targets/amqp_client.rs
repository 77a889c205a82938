//! AMQP frames as a device sees them: a request ends with an answer or an error for any input.
#![no_main]

mod amqp;

use std::io::Cursor;

use amqp::{Peer, frames, run};
use dps_amqp::{Client, ClientOptions, Frames, Message};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let bytes = frames(b"AMQP\0\x01\0\0", 0, input);
    run(ask(Peer(Cursor::new(bytes))));
});

async fn ask(peer: Peer) {
    let options = ClientOptions::new("device", "localhost", "0ne1/registrations/device");
    let Ok(mut client) = Client::open(Frames::new(peer, 4096), &options).await else {
        return;
    };
    while client.request(&Message::data("{}")).await.is_ok() {}
}
