//! No password of a CONNECT in any log, at the level `trace`. A separate test binary, because a logger is global.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;

use dps_mqtt::{Connect, Packet, Packets};
use dps_websocket::{WebSocketIo, accept_key};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

const PASSWORD: &str = "SharedAccessSignature sr=a&sig=hunter2hunter2&se=1";
const MAX: usize = 4096;

struct Captured(Mutex<String>);

static LOG: Captured = Captured(Mutex::new(String::new()));

impl log::Log for Captured {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        self.0.lock().unwrap().push_str(&line);
    }

    fn flush(&self) {}
}

#[tokio::test]
async fn a_password_is_not_logged_at_any_level() {
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    log::trace!("the logger works");

    let (ours, mut theirs) = duplex(64 * 1024);
    let serve = async {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(theirs.read_u8().await.unwrap());
        }
        let request = String::from_utf8(request).unwrap();
        let key = request.split_once("Sec-WebSocket-Key: ").unwrap().1;
        let accept = accept_key(key.split_once("\r\n").unwrap().0);
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        );
        theirs.write_all(response.as_bytes()).await.unwrap();
        let mut server = Packets::new(WebSocketIo::accept(theirs, MAX), MAX);
        let connect = server.read().await.unwrap().unwrap();
        server.write(connect.clone()).await.unwrap();
        connect
    };
    let client = async {
        let stream = WebSocketIo::connect(ours, "dps.example", "/", "mqtt", MAX).await;
        let mut client = Packets::new(stream.unwrap(), MAX);
        let mut connect = Connect::new("device-1");
        connect.username = Some("scope/registrations/device-1".to_owned());
        connect.password = Some(PASSWORD.to_owned().into());
        client.write(Packet::Connect(connect)).await.unwrap();
        client.read().await.unwrap().unwrap()
    };
    let (received, echoed) = tokio::join!(serve, client);
    assert_eq!(received, echoed);

    let log = LOG.0.lock().unwrap().to_lowercase();
    assert!(log.contains("the logger works"));
    let hex = |separator: &str| {
        let bytes = PASSWORD.as_bytes()[32..40].iter();
        bytes
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .join(separator)
    };
    let decimal = format!("{:?}", &PASSWORD.as_bytes()[32..40]);
    for shown in [
        "hunter2",
        &hex(""),
        &hex(" "),
        &hex(", "),
        decimal.trim_matches(['[', ']']),
    ] {
        assert!(!log.contains(shown), "{log}");
    }
}
