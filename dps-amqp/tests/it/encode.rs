//! An encoder that shares no code with the crate: AMQP 1.0 bytes, written by hand.

pub(crate) const AMQP: &[u8] = b"AMQP\x00\x01\x00\x00";
pub(crate) const SASL: &[u8] = b"AMQP\x03\x01\x00\x00";
pub(crate) const NULL: &[u8] = b"\x40";
pub(crate) const TRUE: &[u8] = b"\x41";
pub(crate) const FALSE: &[u8] = b"\x42";

/// A frame: size, data offset 2, type, channel, body.
pub(crate) fn frame(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = (8 + body.len() as u32).to_be_bytes().to_vec();
    bytes.extend([2, kind]);
    bytes.extend(channel.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A described list with a small descriptor, in the form list32.
pub(crate) fn list(code: u8, fields: &[&[u8]]) -> Vec<u8> {
    let content = fields.concat();
    let mut bytes = vec![0x00, 0x53, code, 0xd0];
    bytes.extend((4 + content.len() as u32).to_be_bytes());
    bytes.extend((fields.len() as u32).to_be_bytes());
    bytes.extend(content);
    bytes
}

/// A map in the form map8.
pub(crate) fn map(entries: &[&[u8]]) -> Vec<u8> {
    let content = entries.concat();
    let mut bytes = vec![0xc1, 1 + content.len() as u8, entries.len() as u8];
    bytes.extend(content);
    bytes
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    variable(0xa1, text.as_bytes())
}

pub(crate) fn symbol(text: &str) -> Vec<u8> {
    variable(0xa3, text.as_bytes())
}

pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = vec![0xb0];
    encoded.extend((bytes.len() as u32).to_be_bytes());
    encoded.extend(bytes);
    encoded
}

pub(crate) fn uint(number: u32) -> Vec<u8> {
    let mut bytes = vec![0x70];
    bytes.extend(number.to_be_bytes());
    bytes
}

pub(crate) fn ushort(number: u16) -> Vec<u8> {
    let mut bytes = vec![0x60];
    bytes.extend(number.to_be_bytes());
    bytes
}

/// A described value with a small descriptor.
pub(crate) fn described(code: u8, value: &[u8]) -> Vec<u8> {
    [&[0x00, 0x53, code], value].concat()
}

fn variable(code: u8, bytes: &[u8]) -> Vec<u8> {
    let mut encoded = vec![code, bytes.len() as u8];
    encoded.extend(bytes);
    encoded
}
