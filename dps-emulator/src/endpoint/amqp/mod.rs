//! AMQP 1.0: one connection, from its protocol header to its end.
//!
//! Sources: the AMQP transports of Microsoft's provisioning device SDKs for C, C#, Java and Node.

mod client;
mod login;

use std::error::Error;
use std::time::Duration;

use dps_amqp::{Condition, Event, Frames, Limits, Server};
use dps_types::protocol::amqp::condition;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::{Caller, Gateway};
use crate::instances::Instances;
use client::{Client, Next};
use login::Login;

/// The largest frame, in bytes. It is also the largest that the SDKs ask for.
pub(super) const MAX_FRAME: usize = 64 * 1024;
/// The time within which a client must be authenticated.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The time within which a request of the client must be authenticated.
const UNPROVEN_TIMEOUT: Duration = Duration::from_secs(120);
/// The time that closing a connection may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of a connection: an error if the connection itself failed.
pub(super) type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// Serves a connection until it ends or the emulator stops.
pub(super) async fn serve<S>(
    stream: S,
    instances: &Instances,
    caller: Caller<'_>,
    stop: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let gateway = &**instances.first();
    let frames = Frames::new(stream, MAX_FRAME);
    let login = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        login = timeout(LOGIN_TIMEOUT, Box::pin(login::login(frames, instances, caller))) => login,
    };
    let (frames, login) = match login {
        Ok(Ok(Some(login))) => login,
        Ok(Ok(None)) => return Ok(()),
        Ok(Err(error)) => return failed(gateway, caller, error),
        Err(_) => {
            let reason = "the client was not authenticated within 30 seconds";
            gateway.closed(caller, None, reason);
            return Ok(());
        }
    };
    let mut limits = Limits::default();
    limits.max_message = gateway.instance.message_limit();
    let server = Server::accept_connection(frames, limits);
    converse(server, instances, caller, login, stop).await
}

async fn converse<S>(
    mut server: Server<S>,
    instances: &Instances,
    caller: Caller<'_>,
    login: Login,
    stop: &CancellationToken,
) -> Ended
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let gateway = &**instances.first();
    let mut client = Client::new(instances, caller, login);
    let unproven = Instant::now() + UNPROVEN_TIMEOUT;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => {
                let stopping = Condition::new("amqp:connection:forced")
                    .with_description("The emulator stops.");
                let _ = timeout(CLOSE_TIMEOUT, server.close(Some(stopping))).await;
                return Ok(());
            }
            event = server.next() => event,
            () = tokio::time::sleep_until(unproven), if !caller.peer.is_proven() => {
                let reason = "no request of the client was authenticated within 2 minutes";
                gateway.closed(caller, None, reason);
                let refused = Condition::new(condition(401)).with_description(reason);
                let _ = timeout(CLOSE_TIMEOUT, server.close(Some(refused))).await;
                return Ok(());
            }
        };
        let next = match event {
            Ok(Event::Attached {
                link,
                role,
                address,
                properties,
            }) => {
                let link = client::Link {
                    link,
                    role,
                    address,
                    properties,
                };
                client.attached(&mut server, link).await?
            }
            Ok(Event::Request(request)) => Box::pin(client.request(&mut server, &request)).await?,
            Ok(_) => {
                let _ = timeout(CLOSE_TIMEOUT, server.close(None)).await;
                return Ok(());
            }
            Err(error) => return failed(gateway, caller, error),
        };
        match next {
            Next::Continue => {}
            Next::Cut => return Ok(()),
        }
    }
}

/// A client that violates the protocol is reported. One that disconnects is not.
fn failed(gateway: &Gateway, caller: Caller<'_>, error: dps_amqp::Error) -> Ended {
    if error.kind() == dps_amqp::ErrorKind::Io {
        return Err(error.into());
    }
    gateway.closed(caller, None, &error.to_string());
    Ok(())
}

/// An error as AMQP carries it: the condition for its status, with the JSON body as description.
fn refusal(answer: &Answer) -> Condition {
    let refusal = Condition::new(condition(answer.status))
        .with_description(String::from_utf8_lossy(&answer.body));
    match answer.retry_after {
        Some(seconds) => refusal.with_retry_after(u32::try_from(seconds).unwrap_or(u32::MAX)),
        None => refusal,
    }
}
