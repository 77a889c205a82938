//! Test support.

use dps_mqtt::{Error, Packet, Packets};

pub(crate) const MAX: usize = 4096;

/// Bytes as the standard's tables have them: hexadecimal, with blanks.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// All packets of a stream that ends after `bytes`.
pub(crate) async fn read_all(bytes: &[u8]) -> Result<Vec<Packet>, Error> {
    let mut packets = Packets::new(bytes, MAX);
    let mut read = Vec::new();
    while let Some(packet) = packets.read().await? {
        read.push(packet);
    }
    Ok(read)
}

pub(crate) async fn written(packet: Packet) -> Result<Vec<u8>, Error> {
    let mut packets = Packets::new(Vec::new(), MAX);
    packets.write(packet).await?;
    Ok(packets.into_inner())
}
