//! The client's side of the SASL layer.

use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::frames::SaslFrame;
use super::pieces::{Pieces, cut};
use crate::error::{Error, ErrorKind};
use crate::frames::Frames;
use crate::header::ProtocolHeader;

/// The control bit of a piece that holds a storage root key.
const STORAGE_ROOT_KEY: u8 = 0x10;

/// Authenticates with a user name and a password (RFC 4616). DPS expects `{idScope}/registrations/{registrationId}` and a SAS
/// token.
///
/// # Errors
/// [`ErrorKind::Mechanism`] when the server does not offer PLAIN, [`ErrorKind::Unauthorized`] when it refuses the credentials.
pub async fn plain<S>(frames: &mut Frames<S>, user: &str, password: &str) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut response = Zeroizing::new(Vec::with_capacity(user.len() + password.len() + 2));
    response.push(0);
    response.extend_from_slice(user.as_bytes());
    response.push(0);
    response.extend_from_slice(password.as_bytes());
    begin(frames, "PLAIN", response).await?;
    outcome(read(frames).await?)
}

/// Authenticates with the client certificate of the TLS layer (RFC 4422, appendix A).
///
/// # Errors
/// [`ErrorKind::Mechanism`] when the server does not offer EXTERNAL, [`ErrorKind::Unauthorized`] when it refuses the certificate.
pub async fn external<S>(frames: &mut Frames<S>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    begin(frames, "EXTERNAL", Zeroizing::default()).await?;
    outcome(read(frames).await?)
}

/// The mechanism TPM of DPS, in two steps: the TPM works on the challenge between them.
#[derive(Debug)]
#[must_use = "the server waits for the SAS token"]
pub struct Tpm {
    _private: (),
}

impl Tpm {
    /// Sends the identity of the device and its public keys, and returns the next step with the server's challenge: the
    /// wrapped authentication key. `registration` is the id scope and the registration id; the keys are `TPM2B_PUBLIC` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Mechanism`] when the server does not offer TPM, [`ErrorKind::Unauthorized`] when it refuses the device.
    pub async fn begin<S>(
        frames: &mut Frames<S>,
        registration: (&str, &str),
        endorsement_key: &[u8],
        storage_root_key: &[u8],
    ) -> Result<(Self, Zeroizing<Vec<u8>>), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (id_scope, registration_id) = registration;
        let identity = [
            id_scope.as_bytes(),
            b"\0",
            registration_id.as_bytes(),
            b"\0",
            endorsement_key,
        ]
        .concat();
        let mut pieces = cut(&identity, 0).into_iter();
        let first = Zeroizing::new(pieces.next().unwrap_or_default());
        begin(frames, "TPM", first).await?;
        for piece in pieces {
            expect_request(read(frames).await?)?;
            respond(frames, piece).await?;
        }
        expect_request(read(frames).await?)?;
        let mut pieces = cut(storage_root_key, STORAGE_ROOT_KEY)
            .into_iter()
            .peekable();
        while let Some(piece) = pieces.next() {
            respond(frames, piece).await?;
            if pieces.peek().is_some() {
                expect_request(read(frames).await?)?;
            }
        }
        let mut challenge = Pieces::default();
        loop {
            let piece = challenge_bytes(read(frames).await?)?;
            if let Some(key) = challenge.add(&piece)? {
                return Ok((Self { _private: () }, key));
            }
            respond(frames, vec![0]).await?;
        }
    }

    /// Sends the SAS token that the imported key signed.
    ///
    /// # Errors
    /// [`ErrorKind::Unauthorized`] when the server refuses the token.
    pub async fn finish<S>(self, frames: &mut Frames<S>, token: &str) -> Result<(), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        for piece in cut(token.as_bytes(), 0) {
            respond(frames, piece).await?;
            match read(frames).await? {
                SaslFrame::Challenge(challenge) if challenge.as_slice() == [0] => {}
                answer => return outcome(answer),
            }
        }
        outcome(read(frames).await?)
    }
}

/// Exchanges headers, checks the mechanisms on offer and sends the initial response.
async fn begin<S>(
    frames: &mut Frames<S>,
    mechanism: &str,
    response: Zeroizing<Vec<u8>>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    frames.write_header(ProtocolHeader::Sasl).await?;
    if frames.read_header().await? != ProtocolHeader::Sasl {
        return Err(Error::framing("the server has no SASL layer"));
    }
    match read(frames).await? {
        SaslFrame::Mechanisms(offered) if offered.iter().any(|name| name == mechanism) => {}
        SaslFrame::Mechanisms(_) => {
            return Err(Error::new(
                ErrorKind::Mechanism,
                format!("the server does not offer the SASL mechanism {mechanism}"),
            ));
        }
        other => return Err(unexpected(&other, "sasl-mechanisms")),
    }
    let init = SaslFrame::Init {
        mechanism: mechanism.to_owned(),
        response,
        // Without a host name the longest identity with an endorsement key fits into the 512 bytes of a SASL frame.
        hostname: None,
    };
    frames.push(&init.encode()?);
    frames.flush().await
}

async fn read<S>(frames: &mut Frames<S>) -> Result<SaslFrame, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    SaslFrame::decode(&frames.read().await?)
}

async fn respond<S>(frames: &mut Frames<S>, bytes: Vec<u8>) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    frames.push(&SaslFrame::Response(Zeroizing::new(bytes)).encode()?);
    frames.flush().await
}

/// A challenge of one zero byte asks for the next piece.
fn expect_request(frame: SaslFrame) -> Result<(), Error> {
    match challenge_bytes(frame)?.as_slice() {
        [0] => Ok(()),
        _ => Err(Error::not_allowed(
            "the server sent a challenge before it had all keys",
        )),
    }
}

fn challenge_bytes(frame: SaslFrame) -> Result<Zeroizing<Vec<u8>>, Error> {
    match frame {
        SaslFrame::Challenge(bytes) => Ok(bytes),
        SaslFrame::Outcome(0) => Err(Error::not_allowed(
            "the server accepted the device without a challenge",
        )),
        SaslFrame::Outcome(_) => Err(refused(frame)),
        other => Err(unexpected(&other, "sasl-challenge")),
    }
}

fn outcome(frame: SaslFrame) -> Result<(), Error> {
    match frame {
        SaslFrame::Outcome(0) => Ok(()),
        SaslFrame::Outcome(_) => Err(refused(frame)),
        other => Err(unexpected(&other, "sasl-outcome")),
    }
}

/// AMQP 5.3.3.6.
fn refused(frame: SaslFrame) -> Error {
    match frame {
        SaslFrame::Outcome(1) => Error::new(
            ErrorKind::Unauthorized,
            "the server refused the credentials (SASL outcome 1)",
        ),
        SaslFrame::Outcome(code @ (2..=4)) => Error::new(
            ErrorKind::Unavailable,
            format!("the server could not check the credentials (SASL outcome {code})"),
        ),
        _ => Error::not_allowed("the SASL outcome is not one of AMQP 1.0"),
    }
}

fn unexpected(frame: &SaslFrame, expected: &str) -> Error {
    Error::not_allowed(format!(
        "the server sent {}, but {expected} was expected",
        frame.name()
    ))
}
