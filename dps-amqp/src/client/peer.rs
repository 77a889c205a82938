//! The order of the server's frames: what it has opened so far, and the frames that it may send.

use crate::error::Error;
use crate::frame::Frame;
use crate::link::{Attach, Role};
use crate::performative::{Begin, Flow, Performative};
use crate::transfer::{Disposition, Transfer};

/// The ends of the server: of the connection, of the only session, and of the pair of links.
#[derive(Debug)]
pub(super) struct Peer {
    /// Our channel and the names of our links, which the server's ends must name.
    our_channel: u16,
    answers_name: String,
    requests_name: String,
    is_open: bool,
    /// The server's channel of the session.
    channel: Option<u16>,
    /// The server's handles of the links that carry answers and requests.
    answers: Option<u32>,
    requests: Option<u32>,
}

impl Peer {
    /// A server that has sent nothing. The names are those of the links that carry answers and requests.
    pub(super) fn new(our_channel: u16, answers_name: String, requests_name: String) -> Self {
        Self {
            our_channel,
            answers_name,
            requests_name,
            is_open: false,
            channel: None,
            answers: None,
            requests: None,
        }
    }

    /// The server's handle of the link that carries requests.
    pub(super) fn requests(&self) -> Option<u32> {
        self.requests
    }

    /// Checks that the server may send this performative now, and notes what it opens. `sent` is the number of requests so far.
    ///
    /// A close is always accepted: a server that refuses a connection may send nothing before it.
    pub(super) fn accept(
        &mut self,
        frame: &Frame,
        performative: &Performative,
        sent: u32,
    ) -> Result<(), Error> {
        let name: &'static str = performative.into();
        match performative {
            Performative::Close(_) => Ok(()),
            Performative::Open(_) if !self.is_open => {
                self.is_open = true;
                Ok(())
            }
            Performative::Open(_) => Err(Error::not_allowed("the server sent a second open")),
            _ if !self.is_open => Err(not_before(name, "an open")),
            Performative::Begin(begin) => self.begin(frame.channel, begin),
            _ if self.channel.is_none() => Err(not_before(name, "a begin")),
            _ if self.channel != Some(frame.channel) => Err(Error::not_allowed(format!(
                "the server sent {name} on channel {}, which has no session",
                frame.channel
            ))),
            Performative::Attach(attach) => self.attach(attach),
            Performative::Flow(Flow {
                handle: Some(handle),
                ..
            }) => self.attached(name, *handle),
            // A server that refuses a link may send the reason without an attach, and any handle.
            Performative::Detach(detach) if detach.error.is_some() => Ok(()),
            Performative::Detach(detach) => self.attached(name, detach.handle),
            Performative::Transfer(transfer) => self.transfer(transfer),
            Performative::Disposition(disposition) => self.disposition(disposition, sent),
            Performative::Flow(_) | Performative::End(_) => Ok(()),
        }
    }

    /// AMQP 2.7.2: the answer to a begin names its channel.
    fn begin(&mut self, channel: u16, begin: &Begin) -> Result<(), Error> {
        if self.channel.is_some() {
            return Err(Error::not_allowed("the server sent a second begin"));
        }
        if begin.remote_channel != Some(self.our_channel) {
            return Err(Error::not_allowed(
                "the server began a session that was not requested",
            ));
        }
        self.channel = Some(channel);
        Ok(())
    }

    /// AMQP 2.6.3: the answer to an attach has its name and the other role.
    fn attach(&mut self, attach: &Attach) -> Result<(), Error> {
        let (name, place, other) = match attach.role {
            Role::Sender => (&self.answers_name, &mut self.answers, self.requests),
            Role::Receiver => (&self.requests_name, &mut self.requests, self.answers),
        };
        if attach.name != *name {
            return Err(Error::not_allowed(
                "the server attached a link that was not requested",
            ));
        }
        if place.is_some() {
            return Err(Error::not_allowed(
                "the server sent a second attach of a link",
            ));
        }
        if other == Some(attach.handle) {
            return Err(Error::not_allowed(
                "the server attached two links to one handle",
            ));
        }
        *place = Some(attach.handle);
        Ok(())
    }

    fn attached(&self, name: &str, handle: u32) -> Result<(), Error> {
        match [self.answers, self.requests].contains(&Some(handle)) {
            true => Ok(()),
            false => Err(Error::not_allowed(format!(
                "the server sent {name} for handle {handle}, which has no link"
            ))),
        }
    }

    fn transfer(&self, transfer: &Transfer) -> Result<(), Error> {
        match self.answers == Some(transfer.handle) {
            true => Ok(()),
            false => Err(Error::not_allowed(format!(
                "the server sent a transfer for handle {}, which has no link for answers",
                transfer.handle
            ))),
        }
    }

    /// A disposition of a sender is about answers, which are settled already.
    fn disposition(&self, disposition: &Disposition, sent: u32) -> Result<(), Error> {
        if disposition.role == Role::Sender {
            return Ok(());
        }
        if self.requests.is_none() {
            return Err(not_before("a disposition", "an attach"));
        }
        match disposition.first < sent {
            true => Ok(()),
            false => Err(Error::not_allowed(
                "the server settled a request that was not sent",
            )),
        }
    }
}

fn not_before(name: &str, expected: &str) -> Error {
    Error::not_allowed(format!("the server sent {name} before {expected}"))
}
