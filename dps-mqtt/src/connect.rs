//! CONNECT: the packet with a password. rumqttc does not check all of it, so the rest is checked here.

use bytes::{BufMut, Bytes};
use rumqttc::mqttbytes::{FixedHeader, v4};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::packet::Connect;
use crate::{frame, rules};

/// The protocol's name and its level.
const NAME: &[u8] = b"\x00\x04MQTT";
const LEVEL: u8 = 4;
/// Name, level, flags and keep-alive.
const FIXED: usize = NAME.len() + 4;

const CLEAN_SESSION: u8 = 0x02;
const PASSWORD: u8 = 0x40;
const USERNAME: u8 = 0x80;

/// Reads a whole CONNECT.
pub(crate) fn read(header: FixedHeader, frame: Bytes) -> Result<Connect, Error> {
    let body = frame::body(&frame);
    let flags = flags(body)?;
    let length = body.len();
    let read = v4::Connect::read(header, frame).map_err(Error::malformed_packet)?;

    // rumqttc does not distinguish an empty username from an absent one, so the flags decide.
    let (username, password) = read.login.map_or_else(Default::default, |login| {
        (login.username, Zeroizing::new(login.password))
    });
    let mut end = FIXED + 2 + read.client_id.len();
    if let Some(will) = &read.last_will {
        rules::check_topic(&will.topic)?;
        end += 2 + will.topic.len() + 2 + will.message.len();
    }
    let username = (flags & USERNAME != 0).then_some(username);
    let password = (flags & PASSWORD != 0).then_some(password);
    end += username.as_ref().map_or(0, |text| 2 + text.len());
    end += password.as_ref().map_or(0, |text| 2 + text.len());
    if end != length {
        return Err(Error::malformed("a CONNECT has bytes after its last field"));
    }
    Ok(Connect {
        client_id: read.client_id,
        username,
        password,
        keep_alive: read.keep_alive,
        clean_session: read.clean_session,
        has_will: read.last_will.is_some(),
    })
}

/// Writes a CONNECT. rumqttc cannot write an empty password, and would leave copies of it in memory.
pub(crate) fn write(connect: &Connect) -> Result<Zeroizing<Vec<u8>>, Error> {
    if connect.has_will {
        return Err(Error::malformed(
            "writing a CONNECT with a will is not supported",
        ));
    }
    let username = connect.username.as_deref();
    let password = connect.password.as_ref().map(|password| password.as_str());
    let texts = [Some(connect.client_id.as_str()), username, password];
    let length = FIXED
        + texts
            .iter()
            .flatten()
            .map(|text| 2 + text.len())
            .sum::<usize>();

    let mut flags = 0;
    for (flag, on) in [
        (CLEAN_SESSION, connect.clean_session),
        (USERNAME, username.is_some()),
        (PASSWORD, password.is_some()),
    ] {
        flags |= if on { flag } else { 0 };
    }
    // Allocated once: a Vec that grows leaves copies in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(5 + length));
    bytes.push(0x10);
    let mut rest = length;
    while rest > 0x7f {
        bytes.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes.extend_from_slice(NAME);
    bytes.push(LEVEL);
    bytes.push(flags);
    bytes.put_u16(connect.keep_alive);
    for text in texts.into_iter().flatten() {
        bytes.put_u16(text.len() as u16);
        bytes.extend_from_slice(text.as_bytes());
    }
    Ok(bytes)
}

/// Checks protocol name, level and flags (MQTT-3.1.2-1 to -3).
fn flags(body: &[u8]) -> Result<u8, Error> {
    let other_version = Error::new(
        ErrorKind::ProtocolVersion,
        "a CONNECT of another version of MQTT",
    );
    if body.starts_with(b"\x00\x06MQIsdp") {
        return Err(other_version);
    }
    let Some(rest) = body.strip_prefix(NAME) else {
        return Err(Error::malformed("a CONNECT of another protocol"));
    };
    match rest {
        [LEVEL, flags, ..] if flags & 0x01 == 0 => Ok(*flags),
        [LEVEL, ..] => Err(Error::malformed(
            "the flags of a CONNECT have the reserved bit set",
        )),
        [_, ..] => Err(other_version),
        [] => Err(Error::malformed("a CONNECT has no protocol level")),
    }
}
