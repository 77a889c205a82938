//! The client: a connection with one session and a pair of links. One request is answered before the next is sent.

use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};

use crate::condition::Condition;
use crate::delivery::{self, Assembly, Delivery};
use crate::error::{Error, ErrorKind};
use crate::frame::{Frame, FrameType, MIN_MAX_FRAME};
use crate::frames::Frames;
use crate::header::ProtocolHeader;
use crate::link::{Attach, Role, Terminus};
use crate::message::Message;
use crate::performative::{Begin, Flow, Open, Performative};
use crate::transfer::{Disposition, Outcome, Transfer};

/// The channel of the only session.
const CHANNEL: u16 = 0;

/// The handles of the two links. The receiver comes first, as in Microsoft's SDKs.
const RECEIVER: u32 = 0;
const SENDER: u32 = 1;

/// The number of answers that the server may send before it receives new credit, and of transfers in the session's window.
const CREDIT: u32 = 16;
const WINDOW: u32 = 2048;

/// The parameters of a connection.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientOptions {
    container_id: String,
    hostname: String,
    address: String,
    properties: Vec<(String, String)>,
    max_message: usize,
    idle_time_out: Duration,
}

impl ClientOptions {
    /// A connection to this host, with both links at this address. `container_id` identifies the client, and is unique.
    pub fn new(
        container_id: impl Into<String>,
        hostname: impl Into<String>,
        address: impl Into<String>,
    ) -> Self {
        Self {
            container_id: container_id.into(),
            hostname: hostname.into(),
            address: address.into(),
            properties: Vec::new(),
            max_message: 65_536,
            idle_time_out: Duration::from_secs(240),
        }
    }

    /// Adds a property to both links, such as `com.microsoft:api-version`.
    pub fn with_link_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Accepts answers of up to this many bytes. The default is 65,536.
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }
}

/// The server's answer to a request.
#[expect(
    clippy::exhaustive_enums,
    reason = "a request is answered or it is rejected"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The server accepted the request and sent this message.
    Message(Message),
    /// The server rejected the request.
    Rejected(Condition),
}

/// A connection with one session and a pair of links.
pub struct Client<S> {
    frames: Frames<S>,
    peer_max_frame: usize,
    /// The silence after which the server ends the connection.
    peer_idle: Option<Duration>,
    max_message: usize,
    last_sent: Instant,
    session: Session,
    /// The server's handle of the link that carries requests.
    request_link: Option<u32>,
    assembly: Assembly,
}

/// The numbers of the session (AMQP 2.5.6) and of its links (AMQP 2.6.7).
#[derive(Debug, Default)]
struct Session {
    next_outgoing_id: u32,
    remote_window: u32,
    next_incoming_id: u32,
    /// The number of deliveries sent, and the number that the server's credit allows.
    sent: u32,
    sendable_until: u32,
    /// The number of answers received, and the number that our credit allows.
    received: u32,
    receivable_until: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Opens the connection, the session and the links. A SASL layer comes before it, on the same frames.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the server refuses the connection, the session or a link; [`Error::peer`] has its reason.
    pub async fn open(mut frames: Frames<S>, options: &ClientOptions) -> Result<Self, Error> {
        let max_frame = u32::try_from(frames.max_frame()).unwrap_or(u32::MAX);
        let opening = [
            Performative::Open(Open {
                container_id: options.container_id.clone(),
                hostname: Some(options.hostname.clone()),
                max_frame_size: Some(max_frame),
                channel_max: Some(CHANNEL),
                idle_time_out: u32::try_from(options.idle_time_out.as_millis()).ok(),
            }),
            Performative::Begin(Begin {
                incoming_window: WINDOW,
                outgoing_window: WINDOW,
                handle_max: Some(SENDER),
                ..Begin::default()
            }),
            Performative::Attach(options.attach(Role::Receiver)),
            Performative::Attach(options.attach(Role::Sender)),
        ];
        frames.push_header(ProtocolHeader::Amqp);
        for performative in opening {
            frames.push(&Frame::amqp(CHANNEL, &performative.encode()?));
        }
        frames.flush().await?;
        if frames.read_header().await? != ProtocolHeader::Amqp {
            return Err(Error::new(
                ErrorKind::Mechanism,
                "the server requires a SASL layer",
            ));
        }
        let mut client = Self {
            frames,
            peer_max_frame: MIN_MAX_FRAME,
            peer_idle: None,
            max_message: options.max_message,
            last_sent: Instant::now(),
            session: Session::default(),
            request_link: None,
            assembly: Assembly::default(),
        };
        client.await_links().await?;
        client.grant_credit().await?;
        Ok(client)
    }

    /// Sends a request and waits for its answer. An answer with another correlation id is dropped.
    ///
    /// # Errors
    /// If the connection fails or the server ends it; [`Error::peer`] has the server's reason.
    pub async fn request(&mut self, request: &Message) -> Result<Answer, Error> {
        while self.session.sent == self.session.sendable_until {
            self.step().await?;
        }
        let id = self.send(request).await?;
        let mut accepted = false;
        let mut answer = None;
        loop {
            match self.step().await? {
                Some(Incoming::Settled { first, last, state })
                    if id.wrapping_sub(first) <= last.wrapping_sub(first) =>
                {
                    match state {
                        Some(Outcome::Rejected(condition)) => {
                            return Ok(Answer::Rejected(condition.unwrap_or_default()));
                        }
                        Some(Outcome::Other) => {
                            return Err(Error::new(
                                ErrorKind::Closed,
                                "the server released the request without processing it",
                            ));
                        }
                        Some(Outcome::Accepted) | None => accepted = true,
                    }
                }
                Some(Incoming::Message(message)) if answers(&message, request) => {
                    answer = Some(message);
                }
                _ => {}
            }
            // Some services send the answer before the disposition.
            if accepted && let Some(message) = answer.take() {
                return Ok(Answer::Message(message));
            }
        }
    }

    /// The time after which the server ends a silent connection.
    pub fn peer_idle_time_out(&self) -> Option<Duration> {
        self.peer_idle
    }

    /// Sends close, and does not wait for the server's.
    ///
    /// # Errors
    /// If the stream fails.
    pub async fn begin_close(&mut self) -> Result<(), Error> {
        self.push(&Performative::Close(None))?;
        self.flush().await
    }

    /// Closes the connection in order: sends close, and waits for the server's.
    ///
    /// # Errors
    /// If the stream fails.
    pub async fn close(mut self) -> Result<(), Error> {
        self.begin_close().await?;
        loop {
            match self.step().await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Closed => {
                    return self.frames.shutdown().await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn send(&mut self, request: &Message) -> Result<u32, Error> {
        let message = request.encode()?;
        let id = self.session.sent;
        let transfer = Transfer {
            handle: SENDER,
            delivery_id: Some(id),
            delivery_tag: Some(id.to_be_bytes().to_vec()),
            settled: Some(false),
            ..Transfer::default()
        };
        for frame in delivery::frames(CHANNEL, &transfer, &message, self.peer_max_frame)? {
            while self.session.remote_window == 0 {
                self.flush().await?;
                self.step().await?;
            }
            self.session.remote_window -= 1;
            self.session.next_outgoing_id = self.session.next_outgoing_id.wrapping_add(1);
            self.frames.push(&frame);
        }
        self.session.sent = self.session.sent.wrapping_add(1);
        self.flush().await?;
        Ok(id)
    }

    /// Waits until the server has opened the connection and answered the begin and both attaches.
    async fn await_links(&mut self) -> Result<(), Error> {
        let mut attached = [false; 2];
        while attached != [true; 2] {
            if let Some(Incoming::Attached(role)) = self.step().await? {
                attached[usize::from(role == Role::Receiver)] = true;
            }
        }
        Ok(())
    }

    async fn grant_credit(&mut self) -> Result<(), Error> {
        self.session.receivable_until = self.session.received.wrapping_add(CREDIT);
        let flow = Flow {
            handle: Some(RECEIVER),
            delivery_count: Some(self.session.received),
            link_credit: Some(CREDIT),
            ..self.session.flow()
        };
        self.push(&Performative::Flow(flow))?;
        self.flush().await
    }

    /// Reads and processes one frame. Sends an empty frame while the server is silent, so that the connection stays open.
    async fn step(&mut self) -> Result<Option<Incoming>, Error> {
        let frame = loop {
            let Some(idle) = self.peer_idle else {
                break self.frames.read().await?;
            };
            match timeout_at(self.last_sent + idle / 2, self.frames.read()).await {
                Ok(frame) => break frame?,
                Err(_) => {
                    self.frames.push(&Frame::amqp(CHANNEL, &[]));
                    self.flush().await?;
                }
            }
        };
        if frame.kind != FrameType::Amqp {
            return Err(Error::not_allowed(
                "a SASL frame arrived after the SASL layer",
            ));
        }
        if frame.body.is_empty() {
            return Ok(None);
        }
        let (performative, length) = Performative::decode(&frame.body)?;
        match performative {
            Performative::Open(open) => {
                self.opened(&open);
                Ok(None)
            }
            Performative::Begin(begin) => {
                self.session.remote_window = begin.incoming_window;
                self.session.next_incoming_id = begin.next_outgoing_id;
                Ok(None)
            }
            Performative::Attach(attach) => Ok(self.attached(&attach)),
            Performative::Flow(flow) => self.flow(&flow).await.map(|()| None),
            Performative::Transfer(transfer) => {
                self.transfer(&transfer, &frame.body[length..]).await
            }
            Performative::Disposition(disposition) => Ok(settled(disposition)),
            Performative::Detach(detach) => Err(self.ended("detached the link", detach.error)),
            Performative::End(error) => Err(self.ended("ended the session", error)),
            Performative::Close(error) => Err(self.ended("closed the connection", error)),
        }
    }

    fn opened(&mut self, open: &Open) {
        let max_frame = open.max_frame_size.map_or(usize::MAX, |size| size as usize);
        // Frames larger than our own limit have no benefit.
        self.peer_max_frame = max_frame.clamp(MIN_MAX_FRAME, self.frames.max_frame());
        self.peer_idle = open
            .idle_time_out
            .filter(|millis| *millis > 0)
            .map(|millis| Duration::from_millis(millis.into()));
    }

    /// An attach without a terminus announces a detach with the reason (AMQP 2.6.3).
    fn attached(&mut self, attach: &Attach) -> Option<Incoming> {
        if attach.role == Role::Receiver {
            self.request_link = Some(attach.handle);
        }
        let refused = match attach.role {
            Role::Sender => attach.source == Terminus::None,
            Role::Receiver => attach.target == Terminus::None,
        };
        (!refused).then_some(Incoming::Attached(attach.role))
    }

    async fn flow(&mut self, flow: &Flow) -> Result<(), Error> {
        let base = flow.next_incoming_id.unwrap_or_default();
        self.session.remote_window = base
            .wrapping_add(flow.incoming_window)
            .wrapping_sub(self.session.next_outgoing_id);
        // The flow of a link has the handle that the server assigned.
        if flow.handle.is_some()
            && flow.handle == self.request_link
            && let Some(credit) = flow.link_credit
        {
            let count = flow.delivery_count.unwrap_or_default();
            self.session.sendable_until = count.wrapping_add(credit);
        }
        if flow.echo {
            self.push(&Performative::Flow(self.session.flow()))?;
            self.flush().await?;
        }
        Ok(())
    }

    async fn transfer(
        &mut self,
        transfer: &Transfer,
        payload: &[u8],
    ) -> Result<Option<Incoming>, Error> {
        self.session.next_incoming_id = self.session.next_incoming_id.wrapping_add(1);
        let delivery = self.assembly.add(transfer, payload, self.max_message)?;
        let Some(Delivery {
            id,
            settled,
            payload,
        }) = delivery
        else {
            return Ok(None);
        };
        self.session.received = self.session.received.wrapping_add(1);
        if !settled {
            self.push(&Performative::Disposition(Disposition {
                role: Role::Receiver,
                first: id,
                last: None,
                settled: true,
                state: Some(Outcome::Accepted),
            }))?;
        }
        let left = self
            .session
            .receivable_until
            .wrapping_sub(self.session.received);
        if left < CREDIT / 2 {
            self.grant_credit().await?;
        }
        self.flush().await?;
        Message::decode(&payload).map(|message| Some(Incoming::Message(message)))
    }

    fn ended(&self, what: &str, condition: Option<Condition>) -> Error {
        let text = match &condition {
            Some(condition) => format!("the server {what}: {}", condition.condition),
            None => format!("the server {what}"),
        };
        Error::new(ErrorKind::Closed, text).with_peer(condition)
    }

    fn push(&mut self, performative: &Performative) -> Result<(), Error> {
        self.frames
            .push(&Frame::amqp(CHANNEL, &performative.encode()?));
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.last_sent = Instant::now();
        self.frames.flush().await
    }
}

/// The effect of a frame on a request.
enum Incoming {
    Attached(Role),
    Settled {
        first: u32,
        last: u32,
        state: Option<Outcome>,
    },
    Message(Message),
}

fn settled(disposition: Disposition) -> Option<Incoming> {
    // A disposition of a sender is about answers, which are settled already.
    (disposition.role == Role::Receiver).then(|| Incoming::Settled {
        first: disposition.first,
        last: disposition.last.unwrap_or(disposition.first),
        state: disposition.state,
    })
}

/// A server that does not copy the correlation id answers requests in order.
fn answers(answer: &Message, request: &Message) -> bool {
    answer.correlation_id.is_none() || answer.correlation_id == request.correlation_id
}

impl Session {
    fn flow(&self) -> Flow {
        Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: WINDOW,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: WINDOW,
            ..Flow::default()
        }
    }
}

impl ClientOptions {
    fn attach(&self, role: Role) -> Attach {
        let remote = Terminus::at(&self.address);
        let local = Terminus::Address(None);
        let (name, handle, source, target) = match role {
            Role::Receiver => ("receiver", RECEIVER, remote, local),
            Role::Sender => ("sender", SENDER, local, remote),
        };
        Attach {
            name: format!("{}-{name}", self.container_id),
            handle,
            role,
            snd_settle_mode: None,
            rcv_settle_mode: None,
            source,
            target,
            initial_delivery_count: (role == Role::Sender).then_some(0),
            max_message_size: (role == Role::Receiver)
                .then(|| u64::try_from(self.max_message).unwrap_or(u64::MAX)),
            properties: self.properties.clone(),
        }
    }
}

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
