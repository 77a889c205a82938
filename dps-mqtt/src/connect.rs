//! CONNECT: the packet with a password. rumqttc does not check all of it, so the rest is checked here.

use bytes::{BufMut, Bytes};
use rumqttc::mqttbytes::{FixedHeader, v4};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::packet::Connect;
use crate::rules;

/// The protocol's name and its level.
const PREFIX: &[u8] = b"\x00\x04MQTT\x04";
/// Prefix, flags and keep-alive.
const FIXED: usize = PREFIX.len() + 3;

const CLEAN_SESSION: u8 = 0x02;
const PASSWORD: u8 = 0x40;
const USERNAME: u8 = 0x80;

/// Reads a whole CONNECT; `body` is where its body begins.
pub(crate) fn read(header: FixedHeader, frame: Bytes, body: usize) -> Result<Connect, Error> {
    let flags = flags(&frame[body..])?;
    let length = frame.len() - body;
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
    bytes.extend_from_slice(PREFIX);
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
    let name = PREFIX.len() - 1;
    if !body.starts_with(&PREFIX[..name]) {
        return Err(Error::malformed("a CONNECT of another protocol"));
    }
    match (body.get(name), body.get(name + 1)) {
        (Some(4), Some(flags)) if flags & 0x01 == 0 => Ok(*flags),
        (Some(4), _) => Err(Error::malformed(
            "the flags of a CONNECT have the reserved bit set",
        )),
        (Some(_), _) => Err(other_version),
        (None, _) => Err(Error::malformed("a CONNECT has no protocol level")),
    }
}
