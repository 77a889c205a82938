//! The state of a connection, without I/O: the effect of each frame, and the frames to send.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{Event, Limits, LinkId, Request};
use super::session::Session;
use crate::condition::Condition;
use crate::error::Error;
use crate::frame::{Frame, FrameType, MIN_MAX_FRAME};
use crate::link::{Attach, Detach, Role, Terminus};
use crate::message::Message;
use crate::performative::{Begin, Open, Performative};
use crate::transfer::Transfer;

/// The effect of a frame.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) frames: Vec<Frame>,
    pub(super) events: Vec<Event>,
}

/// The connection. The server uses the channels and handles that the peer chose, since it begins no session and attaches no link itself.
#[derive(Debug)]
pub(super) struct Connection {
    limits: Limits,
    max_frame: usize,
    peer: Option<Open>,
    sent_open: bool,
    sent_close: bool,
    sessions: BTreeMap<u16, Session>,
    next_link: u64,
}

impl Connection {
    pub(super) fn new(max_frame: usize, limits: Limits) -> Self {
        Self {
            limits,
            max_frame,
            peer: None,
            sent_open: false,
            sent_close: false,
            sessions: BTreeMap::new(),
            next_link: 0,
        }
    }

    /// The silence after which the peer ends the connection.
    pub(super) fn peer_idle(&self) -> Option<Duration> {
        let millis = self.peer.as_ref()?.idle_time_out?;
        (millis > 0).then(|| Duration::from_millis(millis.max(100).into()))
    }

    pub(super) fn receive(&mut self, frame: Frame) -> Result<Received, Error> {
        let mut received = Received::default();
        if frame.kind != FrameType::Amqp {
            return Err(Error::framing("a SASL frame arrived after the SASL layer"));
        }
        if frame.body.is_empty() {
            return Ok(received);
        }
        let channel = frame.channel;
        let (performative, payload) = Performative::decode(&frame.body)?;
        if self.peer.is_none() && !matches!(performative, Performative::Open(_)) {
            return Err(Error::not_allowed(format!(
                "{} arrived before open",
                <&str>::from(&performative)
            )));
        }
        match performative {
            Performative::Open(open) => self.open(open, &mut received)?,
            Performative::Begin(begin) => self.begin(channel, &begin, &mut received)?,
            Performative::Attach(attach) => self.attach(channel, attach, &mut received)?,
            Performative::Flow(flow) => {
                let max_frame = self.peer_max_frame();
                received.frames = self.session(channel)?.flow(channel, &flow, max_frame)?;
            }
            Performative::Transfer(transfer) => {
                self.transfer(channel, &transfer, payload, &mut received)?;
            }
            Performative::Disposition(disposition) => {
                let answer = self.session(channel)?.disposition(&disposition);
                received.frames.extend(encode(channel, answer)?);
            }
            Performative::Detach(detach) => {
                self.session(channel)?.links.remove(&detach.handle);
                let answer = Performative::Detach(Detach {
                    error: None,
                    ..detach
                });
                received.frames.extend(encode(channel, Some(answer))?);
            }
            Performative::End(_) => {
                self.session(channel)?;
                self.sessions.remove(&channel);
                received
                    .frames
                    .extend(encode(channel, Some(Performative::End(None)))?);
            }
            Performative::Close(condition) => {
                received.frames = self.close(None)?;
                received.events.push(Event::Closed(condition));
            }
        }
        Ok(received)
    }

    fn open(&mut self, open: Open, received: &mut Received) -> Result<(), Error> {
        if self.peer.is_some() {
            return Err(Error::not_allowed("a second open arrived"));
        }
        if let Some(size) = open.max_frame_size
            && (size as usize) < MIN_MAX_FRAME
        {
            return Err(Error::not_allowed(format!(
                "a maximum frame size of {size} bytes is smaller than the {MIN_MAX_FRAME} bytes that AMQP requires"
            )));
        }
        self.peer = Some(open);
        received.frames.extend(self.our_open()?);
        Ok(())
    }

    fn our_open(&mut self) -> Result<Option<Frame>, Error> {
        if self.sent_open {
            return Ok(None);
        }
        self.sent_open = true;
        let open = Open {
            container_id: "dps".to_owned(),
            hostname: None,
            max_frame_size: u32::try_from(self.max_frame).ok(),
            channel_max: u16::try_from(self.limits.sessions.saturating_sub(1)).ok(),
            // A peer sends at least once in this time (AMQP 2.4.5).
            idle_time_out: u32::try_from(self.limits.idle.as_millis() / 2).ok(),
        };
        encode(0, Some(Performative::Open(open)))
    }

    fn begin(&mut self, channel: u16, begin: &Begin, received: &mut Received) -> Result<(), Error> {
        if begin.remote_channel.is_some() {
            return Err(Error::not_allowed(
                "a begin answers a session that the server did not begin",
            ));
        }
        if self.sessions.contains_key(&channel) {
            return Err(Error::not_allowed(format!(
                "channel {channel} has a session already"
            )));
        }
        if self.sessions.len() >= self.limits.sessions {
            return Err(Error::not_allowed(format!(
                "the limit of {} sessions is reached",
                self.limits.sessions
            )));
        }
        let session = Session::new(begin);
        let answer = session.begin(channel, self.limits.links);
        received.frames.extend(encode(channel, Some(answer))?);
        self.sessions.insert(channel, session);
        Ok(())
    }

    fn attach(
        &mut self,
        channel: u16,
        attach: Attach,
        received: &mut Received,
    ) -> Result<(), Error> {
        let limit = self.limits.links;
        let id = LinkId(self.next_link);
        self.next_link += 1;
        let session = self.session(channel)?;
        if session.links.contains_key(&attach.handle) {
            return Err(Error::not_allowed(format!(
                "handle {} has a link already",
                attach.handle
            )));
        }
        if session.links.len() >= limit {
            return Err(Error::not_allowed(format!(
                "the limit of {limit} links in a session is reached"
            )));
        }
        let address = match attach.role {
            Role::Receiver => &attach.source,
            Role::Sender => &attach.target,
        };
        let address = match address {
            Terminus::Address(address) => address.clone(),
            Terminus::None | Terminus::Coordinator => None,
        };
        received.events.push(Event::Attached {
            link: id,
            role: attach.role,
            address,
            properties: attach.properties.clone(),
        });
        session.add_link(id, attach);
        Ok(())
    }

    fn transfer(
        &mut self,
        channel: u16,
        transfer: &Transfer,
        payload: &[u8],
        received: &mut Received,
    ) -> Result<(), Error> {
        let max_message = self.limits.max_message;
        let session = self.session(channel)?;
        let (link, delivery) = session.transfer(transfer, payload, max_message)?;
        let Some(delivery) = delivery else {
            return Ok(());
        };
        let credit = session.top_up(transfer.handle);
        received.frames.extend(encode(channel, credit)?);
        received.events.push(Event::Request(Request {
            link,
            delivery: delivery.id,
            settled: delivery.settled,
            message: Message::decode(&delivery.payload)?,
        }));
        Ok(())
    }

    pub(super) fn accept_link(&mut self, link: LinkId) -> Result<Vec<Frame>, Error> {
        let max_message = u64::try_from(self.limits.max_message).unwrap_or(u64::MAX);
        let Some((channel, session, handle)) = self.find(link) else {
            return Ok(Vec::new());
        };
        session
            .accept(handle, max_message)
            .into_iter()
            .map(|performative| Ok(Frame::amqp(channel, &performative.encode()?)))
            .collect()
    }

    pub(super) fn refuse_link(
        &mut self,
        link: LinkId,
        condition: Condition,
    ) -> Result<Vec<Frame>, Error> {
        let Some((channel, session, handle)) = self.find(link) else {
            return Ok(Vec::new());
        };
        session
            .refuse(handle, condition)
            .into_iter()
            .map(|performative| Ok(Frame::amqp(channel, &performative.encode()?)))
            .collect()
    }

    /// Settles a request: accepted, or rejected with a condition.
    pub(super) fn settle(
        &mut self,
        request: &Request,
        rejected: Option<Condition>,
    ) -> Result<Option<Frame>, Error> {
        let Some((channel, _, _)) = self.find(request.link) else {
            return Ok(None);
        };
        let disposition = (!request.settled || rejected.is_some())
            .then(|| Session::settle(request.delivery, rejected));
        encode(channel, disposition)
    }

    pub(super) fn send(
        &mut self,
        link: LinkId,
        message: &Message,
    ) -> Result<Option<Vec<Frame>>, Error> {
        let waiting = self.limits.waiting;
        let max_frame = self.peer_max_frame();
        let Some((channel, session, handle)) = self.find(link) else {
            return Ok(None);
        };
        if !session.enqueue(handle, message.encode()?, waiting) {
            return Ok(None);
        }
        session.send_waiting(channel, max_frame).map(Some)
    }

    /// An open must precede a close (AMQP 2.4.3).
    pub(super) fn close(&mut self, condition: Option<Condition>) -> Result<Vec<Frame>, Error> {
        if self.sent_close {
            return Ok(Vec::new());
        }
        self.sent_close = true;
        let mut frames = Vec::new();
        frames.extend(self.our_open()?);
        frames.extend(encode(0, Some(Performative::Close(condition)))?);
        Ok(frames)
    }

    fn session(&mut self, channel: u16) -> Result<&mut Session, Error> {
        self.sessions
            .get_mut(&channel)
            .ok_or_else(|| Error::not_allowed(format!("channel {channel} has no session")))
    }

    fn find(&mut self, link: LinkId) -> Option<(u16, &mut Session, u32)> {
        self.sessions.iter_mut().find_map(|(channel, session)| {
            let handle = session.handle_of(link)?;
            Some((*channel, session, handle))
        })
    }

    fn peer_max_frame(&self) -> usize {
        let peer = self.peer.as_ref().and_then(|open| open.max_frame_size);
        peer.map_or(self.max_frame, |size| (size as usize).min(self.max_frame))
    }
}

fn encode(channel: u16, performative: Option<Performative>) -> Result<Option<Frame>, Error> {
    performative
        .map(|performative| Ok(Frame::amqp(channel, &performative.encode()?)))
        .transpose()
}
