//! A server over AMQP that answers requests with given replies and accepts every proof.

use std::sync::{Arc, Mutex};

use dps_amqp::sasl::{Outcome, SaslServer};
use dps_amqp::{
    Condition, Error, Event, Frames, Limits, Message, Property, ProtocolHeader, Role, Server,
};
use dps_device::transport::Reply;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// The replies that are left, for all connections.
type Replies = Arc<Mutex<std::vec::IntoIter<Reply>>>;

pub(crate) struct AmqpServer;

impl AmqpServer {
    /// Starts a server and returns its port. It ends with the test's runtime.
    pub(crate) async fn start(config: Arc<ServerConfig>, replies: Vec<Reply>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(config);
        let replies: Replies = Arc::new(Mutex::new(replies.into_iter()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, replies) = (acceptor.clone(), Arc::clone(&replies));
                tokio::spawn(async move { serve(stream, acceptor, replies).await });
            }
        });
        port
    }
}

/// Serves one connection until it ends, or a request arrives for which there is no reply.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, replies: Replies) -> Result<(), Error> {
    let Ok(stream) = acceptor.accept(stream).await else {
        return Ok(());
    };
    let mut frames = Frames::new(stream, 65_536);
    if frames.read_header().await? == ProtocolHeader::Sasl {
        let (sasl, _) = SaslServer::accept(&mut frames).await?;
        sasl.finish(&mut frames, Outcome::Ok).await?;
        frames.read_header().await?;
    }
    let mut server = Server::accept_connection(frames, Limits::default());
    let mut answers = None;
    loop {
        match server.next().await? {
            Event::Attached { link, role, .. } => {
                if role == Role::Receiver {
                    answers = Some(link);
                }
                server.accept_link(link)?;
            }
            Event::Request(request) => {
                let Some(reply) = replies.lock().unwrap().next() else {
                    return Ok(());
                };
                let body = String::from_utf8(reply.body).unwrap();
                let wait = reply.retry_after.map(|wait| wait.as_secs() as u32);
                if reply.status < 400 {
                    let mut message = Message::data(body)
                        .with_correlation_id(request.message().correlation_id.clone());
                    if let Some(wait) = wait {
                        message = message.with_property("retry-after", Property::Number(wait));
                    }
                    server.accept(&request)?;
                    server.send(answers.unwrap(), &message)?;
                } else {
                    let status = reply.status;
                    let mut condition =
                        Condition::new(dps_types::protocol::amqp::condition(status))
                            .with_description(body);
                    if let Some(wait) = wait {
                        condition = condition.with_retry_after(wait);
                    }
                    server.reject(&request, condition)?;
                }
            }
            _ => return server.flush().await,
        }
    }
}
