//! Serves one link: sends waiting messages, requests and replies, and dispatches the packets that arrive.

use std::future::ready;
use std::time::Duration;

use dps_mqtt::{Packet, Publish};
use dps_types::protocol::hub::DesiredTopic;
use dps_types::protocol::hub_message::{DeviceboundTopic, InputTopic, PropertyBag};
use dps_types::protocol::hub_method::{MethodRequestTopic, MethodResponseTopic};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::driver::{Driver, End};
use super::link::Link;
use super::message::Message;
use super::method::{MethodRequest, Response, TIMEOUT, TOO_MANY};
use super::received::{Acknowledgement, ReceivedMessage};
use super::reply::Reply;
use super::request::{Answer, Pending};
use super::shared::Command;
use super::twin::TwinProperties;
use crate::answer::accept;
use crate::error::{Error, ErrorKind};
use crate::transport::request_id;

/// Something to do.
enum Step {
    Packet(Packet),
    Request(Box<dyn Pending>),
    Reply(Reply),
    Message,
    Command(Command),
    Look,
}

impl Driver {
    pub(super) async fn serve(&mut self, link: &mut Link) -> Result<End, Error> {
        self.follower.new_link();
        loop {
            self.follow_twin(link);
            self.send_requests(link).await?;
            if link.must_be_replaced(self.requests.is_quiet() && self.methods.is_empty()) {
                return Ok(End::Renewed);
            }
            match self.next_step(link).await? {
                Step::Packet(packet) => self.packet(link, packet).await?,
                Step::Request(request) => self.requests.add(request, link.hub.min_interval),
                Step::Reply(reply) => self.reply(link, reply).await?,
                Step::Message => self.send_message(link).await?,
                Step::Command(Command::Renew) => link.renew(),
                Step::Command(command) => {
                    while let Some(reply) = self.inbox.replies.try_next() {
                        self.reply(link, reply).await?;
                    }
                    return Ok(End::Command(command));
                }
                Step::Look => self.look(link).await?,
            }
        }
    }

    async fn next_step(&mut self, link: &mut Link) -> Result<Step, Error> {
        let wake = self.wake(link);
        let has_capacity = link.messages_in_flight() < usize::from(self.options.window);
        let may_send = has_capacity && !link.is_renewing();
        let events = self.shared.monitor.events();
        let is_held_back = self.options.twin && self.follower.is_held_back(events);
        // Packets are last: the branches before end by themselves, and a hub that sends all the time must not delay them.
        Ok(tokio::select! {
            biased;
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => Step::Look,
            Some(command) = self.inbox.commands.recv() => Step::Command(command),
            reply = self.inbox.replies.next() => Step::Reply(reply),
            Some(request) = self.inbox.requests.recv(), if self.requests.has_capacity() => Step::Request(request),
            () = events.taken.notified(), if is_held_back => Step::Look,
            () = self.shared.outbox.ready(), if may_send => Step::Message,
            packet = link.packet() => Step::Packet(packet?),
        })
    }

    /// The time at which something is due.
    fn wake(&self, link: &Link) -> Option<Instant> {
        let next_start = self.requests.next_start().filter(|_| !link.is_renewing());
        [
            link.wake(),
            self.requests.overdue(),
            next_start,
            self.methods.wake(),
            self.follower.wake(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Passes a downloaded twin to the program, and starts a download if one is due.
    fn follow_twin(&mut self, link: &Link) {
        if !self.options.twin {
            return;
        }
        let events = self.shared.monitor.events();
        self.follower.finish(events);
        if let Some(download) = self.follower.start(events) {
            self.requests.add(download, link.hub.min_interval);
        }
    }

    async fn send_requests(&mut self, link: &mut Link) -> Result<(), Error> {
        while !link.is_renewing()
            && let Some(waiting) = self.requests.next_due()
        {
            let rid = request_id()?;
            let (topic, body) = (waiting.pending.topic(&rid), waiting.pending.body());
            let limit = link.hub.endpoint.request_timeout;
            self.requests.sent(rid, waiting, limit);
            link.send(topic, body).await?;
        }
        Ok(())
    }

    async fn send_message(&mut self, link: &mut Link) -> Result<(), Error> {
        match self.shared.outbox.next().await? {
            Some((number, message)) => link.send_message(number, message).await,
            None => Ok(()),
        }
    }

    async fn reply(&mut self, link: &mut Link, reply: Reply) -> Result<(), Error> {
        let outcome = match reply {
            Reply::Acknowledge {
                link: id,
                packet_id,
            } if id == link.id => link.acknowledge(packet_id).await,
            Reply::Respond {
                link: id,
                rid,
                status,
                payload,
            } if id == link.id && self.methods.remove(&rid) => {
                let topic = MethodResponseTopic::new(status, rid);
                link.send(topic.to_string(), payload).await
            }
            _ => {
                debug!(
                    "a reply is too late: its connection was lost, or its time limit has passed"
                );
                Ok(())
            }
        };
        self.inbox.replies.done();
        self.shared.progressed();
        outcome
    }

    async fn packet(&mut self, link: &mut Link, packet: Packet) -> Result<(), Error> {
        match packet {
            Packet::PubAck { packet_id } => {
                if let Some(number) = link.acknowledged(packet_id) {
                    self.accepted();
                    self.shared.outbox.acknowledged(number).await;
                    self.shared.progressed();
                }
                Ok(())
            }
            Packet::Publish(publish) => self.publish(link, publish).await,
            _ => Ok(()),
        }
    }

    /// Dispatches a message of the hub by its topic.
    async fn publish(&mut self, link: &mut Link, publish: Publish) -> Result<(), Error> {
        let topic = publish.topic.as_str();
        if let Some((properties, input)) = message_topic(topic) {
            self.message(link, publish, properties, input);
            return Ok(());
        }
        if let Some(packet_id) = publish.packet_id {
            link.acknowledge(packet_id).await?;
        }
        let payload = publish.payload.as_ref();
        if let Some(answer) = Answer::read(&link.hub, topic, payload) {
            self.answer(link, answer)
        } else if let Ok(topic) = topic.parse::<MethodRequestTopic>() {
            self.method(link, topic, payload).await
        } else if let Ok(topic) = topic.parse::<DesiredTopic>()
            && let Ok(change) = TwinProperties::change(topic.version, payload)
        {
            self.follower.change(change, self.shared.monitor.events());
            Ok(())
        } else {
            debug!("ignoring a message whose topic or payload is not valid");
            Ok(())
        }
    }

    /// A message that does not fit is not acknowledged, so that the hub delivers it again.
    fn message(
        &mut self,
        link: &Link,
        publish: Publish,
        properties: PropertyBag,
        input: Option<String>,
    ) {
        let events = self.shared.monitor.events();
        if !events.has_capacity_for_message() {
            debug!("the program does not read its messages: the hub delivers this one later");
            return;
        }
        let acknowledgement = publish.packet_id.map(|packet_id| Acknowledgement {
            replies: self.shared.replies.clone(),
            link: link.id,
            packet_id,
        });
        let message = Message::from_parts(publish.payload.to_vec(), properties);
        events.push_message(ReceivedMessage::new(message, input, acknowledgement));
    }

    async fn method(
        &mut self,
        link: &mut Link,
        topic: MethodRequestTopic,
        payload: &[u8],
    ) -> Result<(), Error> {
        let MethodRequestTopic { name, rid, .. } = topic;
        let Some(deadline) = self.methods.add(&rid) else {
            let topic = MethodResponseTopic::new(TOO_MANY, rid);
            return link.send(topic.to_string(), b"null".to_vec()).await;
        };
        let response = Response {
            replies: self.shared.replies.clone(),
            link: link.id,
            rid,
        };
        let method = MethodRequest::new(name, payload.to_vec(), deadline, response);
        self.shared.monitor.events().push_method(method);
        Ok(())
    }

    /// Passes an answer to its request, or sends the request again later.
    fn answer(&mut self, link: &Link, answer: Answer) -> Result<(), Error> {
        let Answer {
            rid,
            version,
            reply,
        } = answer;
        let Some(sent) = self.requests.take(&rid) else {
            debug!("ignoring an answer to another request");
            return Ok(());
        };
        let limit = link.hub.endpoint.request_timeout;
        if sent.pending.limit().is_some() {
            let answer = Answer {
                rid: rid.clone(),
                version,
                reply,
            };
            self.requests.answered(rid, sent, answer, limit);
            return Ok(());
        }
        let error = match accept(reply) {
            Ok(reply) => {
                self.accepted();
                let answer = Answer {
                    rid: rid.clone(),
                    version,
                    reply,
                };
                self.requests.answered(rid, sent, answer, limit);
                return Ok(());
            }
            Err(error) => error,
        };
        let monitor = &self.shared.monitor;
        let is_refusal = matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::NotFound);
        if error.kind().is_retried() {
            let wait = self.requests.retry(sent, &error);
            monitor.failed("a request to the hub failed", &error, Some(wait));
        } else if is_refusal && self.recovers_from_refusal() {
            self.requests.again(sent);
            return Err(error);
        } else {
            monitor.failed("the hub refused a request", &error, None);
            let _ = sent.pending.answered(Err(error));
        }
        Ok(())
    }

    /// Does what is due.
    async fn look(&mut self, link: &mut Link) -> Result<(), Error> {
        while let Some(rid) = self.methods.take_overdue() {
            debug!("the program did not respond to a method in time");
            let topic = MethodResponseTopic::new(TIMEOUT, rid);
            link.send(topic.to_string(), b"null".to_vec()).await?;
        }
        if link.must_be_replaced(self.requests.is_quiet() && self.methods.is_empty()) {
            return Ok(());
        }
        // An overdue answer may have arrived while the events were not polled.
        let arrived = tokio::select! {
            biased;
            packet = link.packet() => Some(packet?),
            () = ready(()) => None,
        };
        match arrived {
            Some(packet) => self.packet(link, packet).await,
            None => {
                link.check_acknowledgements()?;
                self.check_answers(link.hub.endpoint.request_timeout)
            }
        }
    }

    fn check_answers(&mut self, limit: Duration) -> Result<(), Error> {
        match self.requests.fail_overdue() {
            true => Err(Error::new(
                ErrorKind::Connect,
                format!("the hub did not answer within {limit:?}"),
            )),
            false => Ok(()),
        }
    }
}

/// The properties of a message to the device or to an input of the module. `None` if it is something else.
fn message_topic(topic: &str) -> Option<(PropertyBag, Option<String>)> {
    if let Ok(topic) = topic.parse::<DeviceboundTopic>() {
        return Some((topic.properties, None));
    }
    let topic: InputTopic = topic.parse().ok()?;
    Some((topic.properties, Some(topic.input)))
}
