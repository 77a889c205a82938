//! The telemetry that `dps connect` sends: one message, the same message several times, or one message per line of stdin.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use clap::Args;
use dps_device::{DeviceHandle, Message};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::name_and_value;
use crate::failure::{Failure, Result};
use crate::input::{self, TextOrFile, TextOrLines};

/// Messages from the device to its hub.
#[derive(Args)]
#[command(next_help_heading = "Telemetry")]
pub(super) struct TelemetryOptions {
    /// Telemetry to send: the text, @FILE, or - for one message per line of stdin
    #[arg(long, value_name = "TEXT")]
    telemetry: Option<TextOrLines>,
    /// Application property of each message; repeat it for several
    #[arg(long = "property", value_name = "NAME=VALUE", requires = "telemetry", value_parser = name_and_value)]
    properties: Vec<(String, String)>,
    /// Content type of each message, such as application/json. The content encoding is then utf-8 if the message is UTF-8
    #[arg(long, value_name = "TYPE", requires = "telemetry")]
    content_type: Option<String>,
    /// Number of times that the text or the file is sent; 1 by default
    #[arg(long, value_name = "N", requires = "telemetry", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Time from one message to the next. By default 1 for --count, and 0 for the lines of stdin
    #[arg(long, value_name = "SECONDS", requires = "telemetry")]
    interval: Option<u64>,
}

/// The messages to send.
pub(super) struct Telemetry {
    source: Source,
    properties: Vec<(String, String)>,
    content_type: Option<String>,
    interval: Duration,
}

enum Source {
    Fixed { payload: Vec<u8>, left: u64 },
    Lines(mpsc::Receiver<io::Result<Vec<u8>>>),
}

impl TelemetryOptions {
    pub(super) fn telemetry(&self) -> Result<Option<Telemetry>> {
        let Some(text) = &self.telemetry else {
            return Ok(None);
        };
        let (source, interval) = match text {
            TextOrLines::Lines => {
                if self.count.is_some() {
                    return Err(Failure::usage(
                        "--count does not apply to --telemetry -, which sends each line once",
                    ));
                }
                (Source::Lines(lines()), 0)
            }
            TextOrLines::Text(TextOrFile::File(file)) => {
                (self.fixed(input::read(file)?.to_vec()), 1)
            }
            TextOrLines::Text(TextOrFile::Text(text)) => (self.fixed(text.clone().into_bytes()), 1),
        };
        Ok(Some(Telemetry {
            source,
            properties: self.properties.clone(),
            content_type: self.content_type.clone(),
            interval: Duration::from_secs(self.interval.unwrap_or(interval)),
        }))
    }

    fn fixed(&self, payload: Vec<u8>) -> Source {
        Source::Fixed {
            payload,
            left: self.count.unwrap_or(1),
        }
    }
}

impl Telemetry {
    /// Sends all messages, each of which the hub has acknowledged, and returns their number.
    pub(super) async fn send(mut self, handle: DeviceHandle) -> Result<u64> {
        let mut tick = interval(self.interval.max(Duration::from_millis(1)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent = 0;
        while let Some(payload) = self.next().await? {
            if !self.interval.is_zero() {
                tick.tick().await;
            }
            handle.send(self.message(payload)).await?;
            sent += 1;
        }
        Ok(sent)
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        match &mut self.source {
            Source::Fixed { left: 0, .. } => Ok(None),
            Source::Fixed { payload, left } => {
                *left -= 1;
                Ok(Some(payload.clone()))
            }
            Source::Lines(lines) => match lines.recv().await.transpose() {
                Ok(line) => Ok(line),
                Err(error) => Err(Failure::usage("stdin cannot be read").because(&error)),
            },
        }
    }

    fn message(&self, payload: Vec<u8>) -> Message {
        let is_text = std::str::from_utf8(&payload).is_ok();
        let mut message = Message::new(payload);
        if let Some(content_type) = &self.content_type {
            message = message.with_content_type(content_type);
            if is_text {
                message = message.with_content_encoding("utf-8");
            }
        }
        self.properties
            .iter()
            .fold(message, |message, (name, value)| {
                message.with_property(name, value)
            })
    }
}

/// The lines of stdin without their ends. An empty line is not a message.
///
/// A thread reads them, because a read from a terminal cannot be cancelled. It ends with the program.
fn lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(line) = line(&mut input).transpose() {
            let is_last = line.is_err();
            let is_empty = matches!(&line, Ok(line) if line.is_empty());
            if (!is_empty && sender.blocking_send(line).is_err()) || is_last {
                return;
            }
        }
    });
    receiver
}

/// The next line, which is not longer than a message may be. `None` at the end.
fn line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let limit = Message::MAX_BYTES + 2;
    let mut line = Vec::new();
    let length = input.take(limit as u64).read_until(b'\n', &mut line)?;
    if length == 0 {
        return Ok(None);
    }
    if length == limit && line.last() != Some(&b'\n') {
        let what = format!("a line is longer than {} bytes", Message::MAX_BYTES);
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    while let Some(b'\n' | b'\r') = line.last() {
        line.pop();
    }
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_end_and_a_limit() {
        let mut input = &b"one\r\n\ntwo"[..];
        let mut next = || line(&mut input).unwrap();
        assert_eq!(next().unwrap(), b"one");
        assert_eq!(next().unwrap(), b"");
        assert_eq!(next().unwrap(), b"two");
        assert_eq!(next(), None);

        let longest = vec![b'x'; Message::MAX_BYTES];
        assert_eq!(line(&mut &longest[..]).unwrap().unwrap(), longest);
        let too_long = vec![b'x'; Message::MAX_BYTES + 2];
        assert!(line(&mut &too_long[..]).is_err());
    }
}
