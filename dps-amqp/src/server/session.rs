//! The state of a session and of its links: windows, credit and deliveries (AMQP 2.5 and 2.6).

use std::collections::{BTreeMap, VecDeque};

use super::event::LinkId;
use crate::condition::Condition;
use crate::delivery::{self, Assembly, Delivery};
use crate::error::{Error, ErrorKind};
use crate::frame::Frame;
use crate::link::{Attach, Detach, Role, Terminus};
use crate::performative::{Begin, Flow, Performative};
use crate::transfer::{Disposition, Outcome, Transfer};

/// The number of transfers that the peer may send before the window is announced again.
const WINDOW: u32 = 2048;

/// The number of requests that a peer may send on a link before it receives new credit.
const CREDIT: u32 = 32;

/// `settled` as a sender's settlement mode (AMQP 2.8.2).
const SETTLED: u8 = 1;

#[derive(Debug)]
pub(super) struct Session {
    next_incoming_id: u32,
    incoming_window: u32,
    next_outgoing_id: u32,
    remote_window: u32,
    next_delivery: u32,
    pub(super) links: BTreeMap<u32, Link>,
}

#[derive(Debug)]
pub(super) struct Link {
    id: LinkId,
    attach: Attach,
    accepted: bool,
    assembly: Assembly,
    /// Deliveries so far, in both directions.
    delivery_count: u32,
    /// The number of deliveries that the receiver still allows.
    credit: u32,
    waiting: VecDeque<Vec<u8>>,
}

impl Session {
    pub(super) fn new(begin: &Begin) -> Self {
        Self {
            next_incoming_id: begin.next_outgoing_id,
            incoming_window: WINDOW,
            next_outgoing_id: 0,
            remote_window: begin.incoming_window,
            next_delivery: 0,
            links: BTreeMap::new(),
        }
    }

    pub(super) fn begin(&self, channel: u16, links: usize) -> Performative {
        Performative::Begin(Begin {
            remote_channel: Some(channel),
            next_outgoing_id: self.next_outgoing_id,
            incoming_window: self.incoming_window,
            outgoing_window: WINDOW,
            // Handles are numbers of the peer's choice, so the number of links is what is limited.
            handle_max: (links == 0).then_some(0),
        })
    }

    pub(super) fn add_link(&mut self, id: LinkId, attach: Attach) {
        let link = Link {
            id,
            accepted: false,
            assembly: Assembly::default(),
            delivery_count: attach.initial_delivery_count.unwrap_or_default(),
            credit: 0,
            waiting: VecDeque::new(),
            attach,
        };
        self.links.insert(link.attach.handle, link);
    }

    pub(super) fn handle_of(&self, id: LinkId) -> Option<u32> {
        let (handle, _) = self.links.iter().find(|(_, link)| link.id == id)?;
        Some(*handle)
    }

    /// Answers the attach, and grants credit where the peer sends.
    pub(super) fn accept(&mut self, handle: u32, max_message: u64) -> Vec<Performative> {
        let Some(link) = self.links.get_mut(&handle) else {
            return Vec::new();
        };
        link.accepted = true;
        let attach = Performative::Attach(Attach {
            // The C SDK logs an error when this is missing.
            max_message_size: Some(max_message),
            ..link.answer()
        });
        if link.attach.role == Role::Receiver {
            return vec![attach];
        }
        link.credit = CREDIT;
        let flow = self.link_flow(handle);
        std::iter::once(attach).chain(flow).collect()
    }

    /// Detaches a link that was accepted. The attach of another one is answered before that, without a terminus (AMQP 2.6.3).
    pub(super) fn refuse(&mut self, handle: u32, condition: Condition) -> Vec<Performative> {
        let Some(link) = self.links.remove(&handle) else {
            return Vec::new();
        };
        let answer = (!link.accepted).then(|| {
            let mut attach = link.answer();
            match link.attach.role {
                Role::Receiver => attach.source = Terminus::None,
                Role::Sender => attach.target = Terminus::None,
            }
            Performative::Attach(attach)
        });
        let detach = Performative::Detach(Detach {
            handle,
            closed: true,
            error: Some(condition),
        });
        answer.into_iter().chain([detach]).collect()
    }

    pub(super) fn flow(
        &mut self,
        channel: u16,
        flow: &Flow,
        max_frame: usize,
    ) -> Result<Vec<Frame>, Error> {
        let base = flow.next_incoming_id.unwrap_or_default();
        self.remote_window = base
            .wrapping_add(flow.incoming_window)
            .wrapping_sub(self.next_outgoing_id);
        if let Some(handle) = flow.handle
            && let Some(link) = self.links.get_mut(&handle)
            && link.attach.role == Role::Receiver
            && let Some(credit) = flow.link_credit
        {
            let count = flow.delivery_count.unwrap_or_default();
            link.credit = count.wrapping_add(credit).wrapping_sub(link.delivery_count);
        }
        let mut frames = self.send_waiting(channel, max_frame)?;
        let drained = flow.drain && flow.handle.is_some_and(|handle| self.drain(handle));
        if flow.echo || drained {
            let answer = flow
                .handle
                .and_then(|handle| self.link_flow(handle))
                .unwrap_or_else(|| Performative::Flow(self.session_flow()));
            frames.push(Frame::amqp(channel, &answer.encode()?));
        }
        Ok(frames)
    }

    /// Uses up the credit of a link that has nothing to send (AMQP 2.6.7).
    fn drain(&mut self, handle: u32) -> bool {
        match self.links.get_mut(&handle) {
            Some(link) if link.attach.role == Role::Receiver && link.waiting.is_empty() => {
                link.delivery_count = link.delivery_count.wrapping_add(link.credit);
                link.credit = 0;
                true
            }
            _ => false,
        }
    }

    pub(super) fn transfer(
        &mut self,
        transfer: &Transfer,
        payload: &[u8],
        max_message: usize,
    ) -> Result<(LinkId, Option<Delivery>), Error> {
        self.next_incoming_id = self.next_incoming_id.wrapping_add(1);
        let Some(window) = self.incoming_window.checked_sub(1) else {
            return Err(Error::not_allowed("the session's window is exceeded"));
        };
        self.incoming_window = window;
        let link = self
            .links
            .get_mut(&transfer.handle)
            .filter(|link| link.attach.role == Role::Sender && link.accepted)
            .ok_or_else(|| {
                Error::not_allowed(format!(
                    "a transfer has the handle {}, on which the peer has no sending link",
                    transfer.handle
                ))
            })?;
        let delivery = link.assembly.add(transfer, payload, max_message)?;
        // An aborted delivery counts as well (AMQP 2.6.7).
        if delivery.is_some() || transfer.aborted {
            link.delivery_count = link.delivery_count.wrapping_add(1);
            link.credit = link.credit.checked_sub(1).ok_or_else(|| {
                Error::new(ErrorKind::NotAllowed, "the link's credit is exceeded")
            })?;
        }
        Ok((link.id, delivery))
    }

    /// Renews the credit of a link and the window of the session when half of either is used.
    pub(super) fn top_up(&mut self, handle: u32) -> Option<Performative> {
        let link = self.links.get_mut(&handle)?;
        if link.credit > CREDIT / 2 && self.incoming_window > WINDOW / 2 {
            return None;
        }
        link.credit = CREDIT;
        self.incoming_window = WINDOW;
        self.link_flow(handle)
    }

    /// Settles an answer that the peer received but left to the sender to settle (AMQP 2.6.12).
    pub(super) fn disposition(&self, disposition: &Disposition) -> Option<Performative> {
        let ours = disposition.role == Role::Receiver && !disposition.settled;
        ours.then(|| {
            Performative::Disposition(Disposition {
                role: Role::Sender,
                settled: true,
                ..disposition.clone()
            })
        })
    }

    pub(super) fn settle(delivery: u32, rejected: Option<Condition>) -> Performative {
        Performative::Disposition(Disposition {
            role: Role::Receiver,
            first: delivery,
            last: None,
            settled: true,
            state: Some(match rejected {
                Some(condition) => Outcome::Rejected(Some(condition)),
                None => Outcome::Accepted,
            }),
        })
    }

    /// Queues a message for a link where the peer receives. Returns `false` if the link does not accept it.
    pub(super) fn enqueue(&mut self, handle: u32, message: Vec<u8>, limit: usize) -> bool {
        match self.links.get_mut(&handle) {
            Some(link)
                if link.attach.role == Role::Receiver
                    && link.accepted
                    && link.waiting.len() < limit =>
            {
                link.waiting.push_back(message);
                true
            }
            _ => false,
        }
    }

    /// Sends the waiting messages that credit and window allow.
    pub(super) fn send_waiting(
        &mut self,
        channel: u16,
        max_frame: usize,
    ) -> Result<Vec<Frame>, Error> {
        let mut sent = Vec::new();
        for (handle, link) in &mut self.links {
            while link.credit > 0
                && let Some(message) = link.waiting.front()
            {
                let id = self.next_delivery;
                let transfer = Transfer {
                    handle: *handle,
                    delivery_id: Some(id),
                    delivery_tag: Some(id.to_be_bytes().to_vec()),
                    settled: Some(link.attach.snd_settle_mode == Some(SETTLED)),
                    ..Transfer::default()
                };
                let frames = delivery::frames(channel, &transfer, message, max_frame)?;
                let count = u32::try_from(frames.len()).unwrap_or(u32::MAX);
                if count > self.remote_window {
                    return Ok(sent);
                }
                self.remote_window -= count;
                self.next_outgoing_id = self.next_outgoing_id.wrapping_add(count);
                self.next_delivery = self.next_delivery.wrapping_add(1);
                link.delivery_count = link.delivery_count.wrapping_add(1);
                link.credit -= 1;
                link.waiting.pop_front();
                sent.extend(frames);
            }
        }
        Ok(sent)
    }

    fn session_flow(&self) -> Flow {
        Flow {
            next_incoming_id: Some(self.next_incoming_id),
            incoming_window: self.incoming_window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: WINDOW,
            ..Flow::default()
        }
    }

    fn link_flow(&self, handle: u32) -> Option<Performative> {
        let link = self.links.get(&handle)?;
        Some(Performative::Flow(Flow {
            handle: Some(handle),
            delivery_count: Some(link.delivery_count),
            link_credit: Some(link.credit),
            ..self.session_flow()
        }))
    }
}

impl Link {
    /// The same link from the other end.
    fn answer(&self) -> Attach {
        let role = match self.attach.role {
            Role::Sender => Role::Receiver,
            Role::Receiver => Role::Sender,
        };
        Attach {
            role,
            initial_delivery_count: (role == Role::Sender).then_some(0),
            max_message_size: None,
            properties: Vec::new(),
            ..self.attach.clone()
        }
    }
}
