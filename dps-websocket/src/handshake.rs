//! The client's side of the opening handshake (RFC 6455, section 4.1).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tungstenite::client::{ClientRequestBuilder, IntoClientRequest};
use tungstenite::handshake::client::{Response, generate_request};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::machine::TryParse;
use tungstenite::http::{HeaderMap, StatusCode, Uri};

use crate::error::{Error, ErrorKind};

/// The most that is read of a response's head, in bytes.
const MAX_HEAD: usize = 16 * 1024;
/// The size of one read, in bytes.
const READ: usize = 512;

/// The `Sec-WebSocket-Accept` with which a server answers a client's `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
pub fn accept_key(key: impl AsRef<[u8]>) -> String {
    derive_accept_key(key.as_ref())
}

/// Asks the server for a WebSocket. Returns the bytes that arrived after the response's head.
pub(crate) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &str,
    path: &str,
    subprotocol: &str,
) -> Result<Vec<u8>, Error> {
    let uri = Uri::builder()
        .scheme("ws")
        .authority(host)
        .path_and_query(path)
        .build()
        .map_err(|error| {
            Error::new(ErrorKind::Upgrade, "the host or the path is not valid").with_source(error)
        })?;
    let request = ClientRequestBuilder::new(uri)
        .with_sub_protocol(subprotocol)
        .into_client_request()
        .map_err(failed)?;
    let (request, key) = generate_request(request).map_err(failed)?;
    stream.write_all(&request).await.map_err(Error::io)?;
    stream.flush().await.map_err(Error::io)?;
    let (response, rest) = read_response(stream).await?;
    check(&response, &key, subprotocol)?;
    Ok(rest)
}

async fn read_response<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(Response, Vec<u8>), Error> {
    let mut head = Vec::with_capacity(READ);
    loop {
        let mut chunk = [0; READ];
        let length = stream.read(&mut chunk).await.map_err(Error::io)?;
        if length == 0 {
            return Err(Error::io(io::ErrorKind::UnexpectedEof.into()));
        }
        head.extend(chunk.iter().take(length));
        if let Some((end, response)) = Response::try_parse(&head).map_err(failed)? {
            return Ok((response, head.split_off(end)));
        }
        if head.len() > MAX_HEAD {
            let what = format!("the server's answer has more than {MAX_HEAD} bytes of headers");
            return Err(Error::new(ErrorKind::Upgrade, what));
        }
    }
}

fn check(response: &Response, key: &str, subprotocol: &str) -> Result<(), Error> {
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let status = status.as_u16();
        let what = format!("the server answered {status} and did not switch to WebSocket");
        return Err(Error::new(ErrorKind::Upgrade, what).with_http_status(status));
    }
    let headers = response.headers();
    let accepted = has_word(headers, "upgrade", |word| {
        word.eq_ignore_ascii_case("websocket")
    }) && has_word(headers, "connection", |word| {
        word.eq_ignore_ascii_case("upgrade")
    }) && has_word(headers, "sec-websocket-accept", |word| {
        word == derive_accept_key(key.as_bytes())
    });
    if !accepted {
        let what = "the server's switch to WebSocket is not valid: a header is missing or wrong";
        return Err(Error::new(ErrorKind::Upgrade, what));
    }
    // Nothing was offered but the subprotocol.
    if headers.contains_key("sec-websocket-extensions")
        || !has_word(headers, "sec-websocket-protocol", |word| {
            word == subprotocol
        })
    {
        let what = format!("the server did not agree to the subprotocol {subprotocol:?}");
        return Err(Error::new(ErrorKind::Upgrade, what));
    }
    Ok(())
}

fn has_word(headers: &HeaderMap, name: &str, is_expected: impl Fn(&str) -> bool) -> bool {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| is_expected(word.trim()))
}

fn failed(error: tungstenite::Error) -> Error {
    Error::new(ErrorKind::Upgrade, "the switch to WebSocket failed").with_source(error)
}
