//! AMQP frames as the emulator sees them: a connection ends with an error or in order for any input.
#![no_main]

mod amqp;

use std::io::Cursor;

use amqp::{Peer, frames, run};
use dps_amqp::{Event, Frames, Limits, Message, Role, Server};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let bytes = frames(b"AMQP\0\x01\0\0", 0, input);
    run(serve(Peer(Cursor::new(bytes))));
});

async fn serve(peer: Peer) {
    let mut frames = Frames::new(peer, 4096);
    if frames.read_header().await.is_err() {
        return;
    }
    let mut server = Server::accept_connection(frames, Limits::default());
    let mut answers = None;
    while let Ok(event) = server.next().await {
        match event {
            Event::Attached { link, role, .. } => {
                if role == Role::Receiver {
                    answers = Some(link);
                }
                server.accept_link(link).expect("an answer can be encoded");
            }
            Event::Request(request) => {
                server.accept(&request).expect("an answer can be encoded");
                if let Some(link) = answers {
                    let id = request.message().correlation_id.clone();
                    let answer = Message::data(vec![7; 9000]).with_correlation_id(id);
                    server.send(link, &answer).expect("an answer can be encoded");
                }
            }
            _ => {}
        }
    }
}
