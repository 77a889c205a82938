//! The server's side of the SASL layer.

use std::fmt;

use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::frames::SaslFrame;
use super::pieces::{Pieces, in_two};
use crate::error::Error;
use crate::frames::Frames;
use crate::header::ProtocolHeader;

/// The mechanism that a client chose, with its initial response. Debug output has no secret.
#[non_exhaustive]
pub enum Mechanism {
    /// A user name and a password.
    Plain {
        /// The user name.
        user: String,
        /// The password: a SAS token.
        password: Zeroizing<String>,
    },
    /// The certificate of the TLS layer.
    External,
    /// No credentials: `ANONYMOUS`, or `MSSBCBS`, where the client authenticates on a link. IoT hubs offer these; DPS does not.
    Anonymous,
    /// The mechanism TPM of DPS.
    Tpm {
        /// The id scope.
        id_scope: String,
        /// The registration id.
        registration_id: String,
        /// The endorsement key as `TPM2B_PUBLIC` bytes.
        endorsement_key: Vec<u8>,
        /// The storage root key as `TPM2B_PUBLIC` bytes.
        storage_root_key: Vec<u8>,
    },
}

/// The outcome of the SASL layer (AMQP 5.3.3.6).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The client is authenticated.
    Ok,
    /// The credentials are refused.
    Unauthorized,
    /// The server cannot check the credentials now.
    TemporaryFailure,
}

/// The server's side of the SASL layer. [`SaslServer::accept`] reads what the client chose; [`SaslServer::finish`] ends the layer.
#[derive(Debug)]
#[must_use = "the client waits for the outcome"]
pub struct SaslServer {
    _private: (),
}

impl SaslServer {
    /// Answers the client's SASL header, which has been read, offers the mechanisms, and reads what the client chose.
    ///
    /// # Errors
    /// If the stream fails, or the client breaks the protocol or chooses another mechanism.
    pub async fn accept<S>(frames: &mut Frames<S>) -> Result<(Self, Mechanism), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        frames.push_header(ProtocolHeader::Sasl);
        let offer = ["PLAIN", "EXTERNAL", "TPM", "ANONYMOUS", "MSSBCBS"]
            .map(str::to_owned)
            .to_vec();
        frames.push(&SaslFrame::Mechanisms(offer).encode()?);
        frames.flush().await?;
        let SaslFrame::Init {
            mechanism,
            response,
            ..
        } = read(frames).await?
        else {
            return Err(Error::not_allowed(
                "the client did not begin the SASL layer with sasl-init",
            ));
        };
        let chosen = match mechanism.as_str() {
            "PLAIN" => plain(&response),
            "EXTERNAL" => Ok(Mechanism::External),
            "ANONYMOUS" | "MSSBCBS" => Ok(Mechanism::Anonymous),
            "TPM" => tpm(frames, response).await,
            other => Err(Error::not_allowed(format!(
                "the client chose the SASL mechanism {other:?}, which was not offered"
            ))),
        };
        match chosen {
            Ok(mechanism) => Ok((Self { _private: () }, mechanism)),
            Err(error) => {
                // The client receives an outcome that its response cannot be used; the cause is in the server's log.
                frames.push(&SaslFrame::Outcome(1).encode()?);
                frames.flush().await?;
                Err(error)
            }
        }
    }

    /// Sends the wrapped authentication key to a client that chose TPM, and returns its answer: the SAS token.
    ///
    /// # Errors
    /// If the stream fails or the client breaks the protocol.
    pub async fn challenge<S>(
        &mut self,
        frames: &mut Frames<S>,
        key: &[u8],
    ) -> Result<Zeroizing<String>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let [first, second] = in_two(key)?;
        if ask(frames, first).await?.as_slice() != [0] {
            return Err(Error::not_allowed(
                "the client did not ask for the second piece of the challenge",
            ));
        }
        let answer = ask(frames, second).await?;
        let token = whole(frames, answer).await?;
        match std::str::from_utf8(&token) {
            Ok(token) => Ok(Zeroizing::new(token.to_owned())),
            Err(_) => Err(Error::not_allowed("the SAS token is not UTF-8")),
        }
    }

    /// Sends the outcome. After [`Outcome::Ok`] the client begins the AMQP layer.
    ///
    /// # Errors
    /// If the stream fails.
    pub async fn finish<S>(self, frames: &mut Frames<S>, outcome: Outcome) -> Result<(), Error>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let code = match outcome {
            Outcome::Ok => 0,
            Outcome::Unauthorized => 1,
            Outcome::TemporaryFailure => 4,
        };
        frames.push(&SaslFrame::Outcome(code).encode()?);
        frames.flush().await
    }
}

/// RFC 4616: authorization identity, NUL, authentication identity, NUL, password.
fn plain(response: &[u8]) -> Result<Mechanism, Error> {
    let malformed = || Error::not_allowed("the response of the SASL mechanism PLAIN is not valid");
    let text = std::str::from_utf8(response).map_err(|_| malformed())?;
    let mut parts = text.splitn(3, '\0').skip(1);
    match (parts.next(), parts.next()) {
        (Some(user), Some(password)) => Ok(Mechanism::Plain {
            user: user.to_owned(),
            password: Zeroizing::new(password.to_owned()),
        }),
        _ => Err(malformed()),
    }
}

async fn tpm<S>(frames: &mut Frames<S>, response: Zeroizing<Vec<u8>>) -> Result<Mechanism, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let identity = whole(frames, response).await?;
    let mut parts = identity.splitn(3, |byte| *byte == 0);
    let (Some(id_scope), Some(registration_id), Some(endorsement_key)) =
        (parts.next(), parts.next(), parts.next())
    else {
        return Err(Error::not_allowed(
            "the response of the SASL mechanism TPM has no id scope, registration id and endorsement key",
        ));
    };
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            Error::not_allowed("an id in the response of the mechanism TPM is not UTF-8")
        })
    };
    let answer = ask(frames, vec![0]).await?;
    Ok(Mechanism::Tpm {
        id_scope: text(id_scope)?,
        registration_id: text(registration_id)?,
        endorsement_key: endorsement_key.to_vec(),
        storage_root_key: whole(frames, answer).await?.to_vec(),
    })
}

/// A value that the client sent: after a zero byte, or in pieces.
async fn whole<S>(
    frames: &mut Frames<S>,
    mut response: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if let [0, value @ ..] = response.as_slice() {
        return Ok(Zeroizing::new(value.to_vec()));
    }
    let mut pieces = Pieces::default();
    loop {
        if let Some(value) = pieces.add(&response)? {
            return Ok(value);
        }
        response = ask(frames, vec![0]).await?;
    }
}

async fn ask<S>(frames: &mut Frames<S>, challenge: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    frames.push(&SaslFrame::Challenge(Zeroizing::new(challenge)).encode()?);
    frames.flush().await?;
    match read(frames).await? {
        SaslFrame::Response(response) => Ok(response),
        other => Err(Error::not_allowed(format!(
            "the client sent {}, but sasl-response was expected",
            other.name()
        ))),
    }
}

async fn read<S>(frames: &mut Frames<S>) -> Result<SaslFrame, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    SaslFrame::decode(&frames.read().await?)
}

impl fmt::Debug for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain { user, .. } => f
                .debug_struct("Plain")
                .field("user", user)
                .finish_non_exhaustive(),
            Self::External => f.write_str("External"),
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Tpm {
                id_scope,
                registration_id,
                ..
            } => f
                .debug_struct("Tpm")
                .field("id_scope", id_scope)
                .field("registration_id", registration_id)
                .finish_non_exhaustive(),
        }
    }
}
