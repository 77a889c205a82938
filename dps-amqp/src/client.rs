//! The client: a connection with one session and a pair of links. One request is answered before the next is sent.

mod options;
mod peer;

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
use peer::Peer;

pub use options::ClientOptions;

/// The channel of the only session.
const CHANNEL: u16 = 0;

/// The handles of the two links. The receiver comes first, as in Microsoft's SDKs.
const RECEIVER: u32 = 0;
const SENDER: u32 = 1;

/// The number of answers that the server may send before it receives new credit, and of transfers in the session's window.
const CREDIT: u32 = 16;
const WINDOW: u32 = 2048;

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
    peer: Peer,
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
            peer: Peer::new(
                CHANNEL,
                options.link_name(Role::Receiver),
                options.link_name(Role::Sender),
            ),
            assembly: Assembly::default(),
        };
        client.await_links().await?;
        // It is sent with the first request.
        client.grant_credit()?;
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
        let mut exchange = Exchange::new(request, self.session.sent);
        self.send(&mut exchange).await?;
        loop {
            if let Some(answer) = exchange.answer()? {
                return Ok(answer);
            }
            exchange.add(self.step().await?);
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

    async fn send(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Error> {
        let message = exchange.request.encode()?;
        let id = exchange.id;
        // The server may settle and answer the request before it has all of it.
        self.session.sent = id.wrapping_add(1);
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
                exchange.add(self.step().await?);
            }
            self.session.remote_window -= 1;
            self.session.next_outgoing_id = self.session.next_outgoing_id.wrapping_add(1);
            self.frames.push(&frame);
        }
        self.flush().await
    }

    /// Waits until the server has opened the connection and answered the begin and both attaches.
    async fn await_links(&mut self) -> Result<(), Error> {
        let (mut can_send, mut can_receive) = (false, false);
        while !(can_send && can_receive) {
            match self.step().await? {
                Some(Incoming::Attached(Role::Sender)) => can_send = true,
                Some(Incoming::Attached(Role::Receiver)) => can_receive = true,
                _ => {}
            }
        }
        Ok(())
    }

    fn grant_credit(&mut self) -> Result<(), Error> {
        self.session.receivable_until = self.session.received.wrapping_add(CREDIT);
        let flow = Flow {
            handle: Some(RECEIVER),
            delivery_count: Some(self.session.received),
            link_credit: Some(CREDIT),
            ..self.session.flow()
        };
        self.push(&Performative::Flow(flow))
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
        let (performative, payload) = Performative::decode(&frame.body)?;
        self.peer.accept(&frame, &performative, self.session.sent)?;
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
            Performative::Transfer(transfer) => self.transfer(&transfer, payload).await,
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
        if attach.role == Role::Sender {
            let first = attach.initial_delivery_count.unwrap_or_default();
            (self.session.received, self.session.receivable_until) = (first, first);
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
            && flow.handle == self.peer.requests()
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
        let has_credit = self.session.received != self.session.receivable_until;
        if !has_credit && !self.assembly.is_partial() {
            return Err(Error::not_allowed(
                "the server sent an answer without credit",
            ));
        }
        let delivery = self.assembly.add(transfer, payload, self.max_message)?;
        if delivery.is_none() && !transfer.aborted {
            return Ok(None);
        }
        // An aborted delivery counts as well (AMQP 2.6.7), so that the server always receives new credit.
        self.session.received = self.session.received.wrapping_add(1);
        // It is settled by the abort (AMQP 2.7.5).
        if let Some(Delivery {
            id, settled: false, ..
        }) = delivery
        {
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
            self.grant_credit()?;
        }
        self.flush().await?;
        let message = delivery.map(|delivery| Message::decode(&delivery.payload));
        Ok(message.transpose()?.map(Incoming::Message))
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

/// A request, and what the server has sent about it.
struct Exchange<'a> {
    request: &'a Message,
    /// The delivery id of the request.
    id: u32,
    /// The state of the settled request. `None` until the server has settled it.
    outcome: Option<Outcome>,
    message: Option<Message>,
}

impl<'a> Exchange<'a> {
    fn new(request: &'a Message, id: u32) -> Self {
        Self {
            request,
            id,
            outcome: None,
            message: None,
        }
    }

    /// Keeps what concerns the request, and drops the rest.
    fn add(&mut self, incoming: Option<Incoming>) {
        match incoming {
            Some(Incoming::Settled { first, last, state })
                if self.id.wrapping_sub(first) <= last.wrapping_sub(first) =>
            {
                self.outcome = Some(state.unwrap_or(Outcome::Accepted));
            }
            Some(Incoming::Message(message)) if answers(&message, self.request) => {
                self.message = Some(message);
            }
            _ => {}
        }
    }

    /// The answer when it is complete. Some services send the message before the disposition.
    fn answer(&mut self) -> Result<Option<Answer>, Error> {
        match &mut self.outcome {
            Some(Outcome::Rejected(condition)) => {
                let condition = condition.take().unwrap_or_default();
                Ok(Some(Answer::Rejected(condition)))
            }
            Some(Outcome::Other) => Err(Error::new(
                ErrorKind::Closed,
                "the server released the request without processing it",
            )),
            Some(Outcome::Accepted) => Ok(self.message.take().map(Answer::Message)),
            None => Ok(None),
        }
    }
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

impl<S> fmt::Debug for Client<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
