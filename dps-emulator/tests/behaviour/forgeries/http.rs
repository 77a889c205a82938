//! HTTP requests that are written byte by byte.

use std::fmt::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::common::{Dps, TIMEOUT};

pub(super) const PATH: &str = "/0ne00000001/registrations/dev-1/register?api-version=2021-06-01";

/// Sends these bytes, and returns everything until the emulator closes the connection.
pub(super) async fn exchange(dps: &Dps, request: &str) -> String {
    let mut stream = dps.connect().await;
    // An emulator that has refused the head may close the connection before the rest.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let read = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await;
    let _ = read.expect("the emulator closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

pub(super) fn is_success(answer: &str) -> bool {
    answer.contains("HTTP/1.1 2") || answer.contains("HTTP/1.0 2")
}

/// A registration of `dev-1` with these lines of the head.
pub(super) fn register(start: &str, headers: &[&str]) -> String {
    let mut request = format!("{start}\r\nConnection: close\r\nContent-Type: application/json\r\n");
    for header in headers {
        let _ = write!(request, "{header}\r\n");
    }
    request + "\r\n{}"
}
