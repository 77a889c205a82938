//! A connected client: its packets in order, until the connection ends.

use std::collections::HashMap;
use std::pin::pin;

use dps_mqtt::{ErrorKind, Packet, Packets, Publish, QoS};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::super::{Caller, Gateway};
use super::session::{Answer, Message, Received, Session};
use super::{Ended, write};

/// A connected client.
pub(super) struct Connection<'a, S, C> {
    packets: &'a mut Packets<S>,
    gateway: &'a Gateway,
    caller: Caller<'a>,
    session: C,
    last_id: u16,
    /// The receipts of messages that the client has not acknowledged, by packet id. The session limits their number.
    receipts: HashMap<u16, u64>,
}

/// The next step after a packet.
enum Next {
    Continue,
    /// The client or the emulator ends the connection in order.
    End,
    /// The client broke a rule, or its time limit has passed.
    Close(String),
}

impl<'a, S, C> Connection<'a, S, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: Session,
{
    pub(super) fn new(
        packets: &'a mut Packets<S>,
        gateway: &'a Gateway,
        caller: Caller<'a>,
        session: C,
    ) -> Self {
        Self {
            packets,
            gateway,
            caller,
            session,
            last_id: 0,
            receipts: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, stop: &CancellationToken) -> Ended {
        let mut deadline = self.deadline();
        loop {
            let next = tokio::select! {
                () = stop.cancelled() => Next::End,
                message = self.session.next() => match message {
                    Ok(message) => {
                        self.send(None, message).await?;
                        continue;
                    }
                    Err(reason) => {
                        let device = self.session.device();
                        tracing::info!(device, reason, "closed a connection");
                        return Ok(());
                    }
                },
                read = timeout_at(deadline, self.packets.read()) => match read {
                    Ok(Ok(Some(packet))) => self.handle(packet, stop).await?,
                    Ok(Ok(None)) => Next::End,
                    Ok(Err(error)) if error.kind() == ErrorKind::Io => return Err(error.into()),
                    Ok(Err(error)) => Next::Close(error.to_string()),
                    Err(_) => {
                        let seconds = self.session.idle_timeout().as_secs_f32();
                        Next::Close(format!(
                            "nothing arrived for {seconds} seconds, which is one and a half times the keep-alive or the hub's limit"
                        ))
                    }
                },
            };
            match next {
                Next::Continue => deadline = self.deadline(),
                Next::End => return Ok(()),
                Next::Close(reason) => {
                    let device = Some(self.session.device());
                    self.gateway.closed(self.caller, device, &reason);
                    return Ok(());
                }
            }
        }
    }

    async fn handle(
        &mut self,
        packet: Packet,
        stop: &CancellationToken,
    ) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
        match packet {
            Packet::Publish(publish) if publish.qos == QoS::ExactlyOnce => {
                return Ok(Next::Close(
                    "PUBLISH with QoS 2, which DPS and IoT Hub do not support".to_owned(),
                ));
            }
            Packet::Publish(publish) => return Box::pin(self.publish(publish, stop)).await,
            Packet::Subscribe { packet_id, filters } => {
                let mut granted = Vec::with_capacity(filters.len());
                for (filter, qos) in &filters {
                    let outcome = self.session.subscribe(filter, *qos);
                    if let Err(reason) = &outcome {
                        self.ignored(&format!("SUBACK 0x80: {reason}"));
                    }
                    granted.push(outcome.ok());
                }
                self.write([Packet::SubAck { packet_id, granted }]).await?;
            }
            Packet::Unsubscribe { packet_id, filters } => {
                for filter in &filters {
                    self.session.unsubscribe(filter);
                }
                self.write([Packet::UnsubAck { packet_id }]).await?;
            }
            Packet::PingReq => self.write([Packet::PingResp]).await?,
            Packet::PubAck { packet_id } => {
                if let Some(receipt) = self.receipts.remove(&packet_id) {
                    self.session.delivered(receipt).await;
                }
            }
            Packet::Disconnect => return Ok(Next::End),
            Packet::Connect(_) => return Ok(Next::Close("a second CONNECT".to_owned())),
            _ => {
                return Ok(Next::Close(
                    "a packet that a client must not send, or part of QoS 2".to_owned(),
                ));
            }
        }
        Ok(Next::Continue)
    }

    /// Acknowledges, then answers: the C# SDK requires this order. An answer that is ready at once shares the write of its
    /// acknowledgement.
    async fn publish(
        &mut self,
        publish: Publish,
        stop: &CancellationToken,
    ) -> Result<Next, Box<dyn std::error::Error + Send + Sync>> {
        let packet_id = publish.packet_id;
        let request = match self.session.read(publish).await {
            Received::Request(request) => Some(request),
            Received::Done => None,
            Received::Silence => return Ok(Next::Continue),
            Received::End(reason) => return Ok(Next::Close(reason)),
        };
        let mut unsent = packet_id.map(|packet_id| Packet::PubAck { packet_id });
        let Some(request) = request else {
            self.write(unsent).await?;
            return Ok(Next::Continue);
        };
        let delay = self.gateway.instance.settings.mqtt_answer_delay;
        let answer = {
            let mut answer = pin!(self.session.answer(request));
            tokio::select! {
                biased;
                answer = &mut answer, if delay.is_zero() => answer,
                // The task that writes a registration runs meanwhile. The answer goes on while a slow client reads the
                // acknowledgement, because it may hold what others need, such as a lock or a connection to the store.
                () = tokio::task::yield_now() => {
                    let acknowledged = write(self.packets, unsent.take());
                    let (acknowledged, answer) = tokio::join!(acknowledged, answer);
                    acknowledged?;
                    answer
                }
            }
        };
        if let Answer::Message(_) | Answer::Twice(_) = answer
            && !delay.is_zero()
        {
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(delay) => {}
            }
        }
        match answer {
            Answer::Message(message) => self.send(unsent, message).await?,
            Answer::Twice(message) => {
                self.send(unsent, message.clone()).await?;
                self.send(None, message).await?;
            }
            Answer::Nothing => self.write(unsent).await?,
            Answer::Lost(reason) => {
                self.write(unsent).await?;
                self.ignored(&reason);
            }
            Answer::End(reason) => {
                self.write(unsent).await?;
                return Ok(Next::Close(reason));
            }
        }
        Ok(Next::Continue)
    }

    fn ignored(&self, reason: &str) {
        let device = Some(self.session.device());
        self.gateway.ignored(self.caller, device, reason);
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.session.idle_timeout()
    }

    /// Sends a message, after a packet that has not been sent.
    async fn send(&mut self, unsent: Option<Packet>, message: Message) -> Ended {
        let Message {
            topic,
            body,
            qos,
            receipt,
        } = message;
        let packet_id = (qos == QoS::AtLeastOnce).then(|| self.next_id());
        let publish = Publish::new(topic, body, qos, packet_id);
        self.write(unsent.into_iter().chain([Packet::Publish(publish)]))
            .await?;
        match (receipt, packet_id) {
            (Some(receipt), Some(packet_id)) => drop(self.receipts.insert(packet_id, receipt)),
            (Some(receipt), None) => self.session.delivered(receipt).await,
            (None, _) => {}
        }
        Ok(())
    }

    async fn write(&mut self, packets: impl IntoIterator<Item = Packet>) -> Ended {
        write(self.packets, packets).await
    }

    /// A packet id that no message with a receipt has.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.receipts.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }
}
