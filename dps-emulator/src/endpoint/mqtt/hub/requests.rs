//! The messages that a device publishes at its hub: telemetry, responses to direct methods, requests for its twin and certificate.

use dps_mqtt::Publish;
use dps_types::protocol::hub::{TWIN_RESPONSE_FILTER, TwinResponseTopic};
use dps_types::protocol::hub_certificate::RESPONSE_FILTER as CERTIFICATE_FILTER;
use dps_types::protocol::hub_message::PropertyBag;
use dps_types::protocol::hub_method::MethodResponseTopic;
use serde_json::{Map, Value};

use super::super::super::call::document;
use super::super::hub_certificate::CertificateRequest;
use super::super::session::{Answer, Message, Received};
use super::{Client, Request, Response};
use crate::fault::{FaultOutcome, Step};
use crate::hub::{ReceivedTelemetry, Subscription, message_size};
use crate::limits::HubAction;
use crate::service_error::ServiceError;

impl Client<'_> {
    pub(super) async fn telemetry(
        &self,
        mut properties: PropertyBag,
        publish: &Publish,
    ) -> Received<Request> {
        if publish.retain {
            properties.insert("mqtt-retain", "true");
        }
        let body = publish.payload.clone();
        let size = message_size(&body, &properties);
        let limit = self.gateway.instance.state.limits().hub_message_bytes;
        if size > limit {
            return Received::End(format!(
                "a telemetry message has {size} bytes, and the limit is {limit}"
            ));
        }
        if let Err(error) = self.throttle(HubAction::Telemetry).await {
            return Received::End(format!("{}: {}", error.code(), error.message()));
        }
        let work = async {
            let enqueued = self.hubs().now();
            let mut stamps = self.stamps.clone();
            stamps.push(("iothub-enqueuedtime", enqueued.to_string()));
            self.hubs().receive(ReceivedTelemetry {
                identity: self.identity.clone(),
                body,
                properties,
                stamps,
                enqueued,
            });
            Ok(())
        };
        match self
            .gateway
            .faults
            .apply(
                Step::Telemetry,
                Some(self.identity.device_id.as_str()),
                work,
            )
            .await
        {
            Ok(FaultOutcome::Done(())) => {
                tracing::debug!(device = self.name, bytes = size, "telemetry");
                Received::Done
            }
            Ok(FaultOutcome::Silence) => Received::Silence,
            // A hub has no answer to telemetry that it refuses.
            _ => Received::End("a fault".to_owned()),
        }
    }

    pub(super) fn method_response(
        &mut self,
        topic: &MethodResponseTopic,
        body: &[u8],
    ) -> Received<Request> {
        match self.methods.finish(topic, body) {
            Ok(()) => Received::Done,
            Err(reason) => Received::End(reason),
        }
    }

    /// Reads a certificate request. Without a subscription or a valid request id, there is no answer.
    pub(super) fn certificate_request(&self, publish: Publish) -> Received<Request> {
        let subscribed = self.session.qos(Subscription::Certificates);
        let request = match subscribed {
            Some(_) => CertificateRequest::read(publish),
            None => Err(format!(
                "no answer to a certificate request: the client has not subscribed to '{CERTIFICATE_FILTER}'"
            )),
        };
        match request {
            Ok(request) => Received::Request(Request::Certificate(request)),
            Err(reason) => {
                let device = Some(self.name.as_str());
                self.gateway
                    .shared
                    .refusals
                    .ignored(self.caller, device, &reason);
                Received::Done
            }
        }
    }

    pub(super) async fn certificate(&mut self, request: CertificateRequest) -> Answer {
        let Some(qos) = self.session.qos(Subscription::Certificates) else {
            return Answer::Nothing;
        };
        let (answer, renewing) = request.answer(self.gateway, &self.identity, qos).await;
        self.renewing = renewing.or(self.renewing.take());
        answer
    }

    pub(super) async fn twin(&self, rid: String) -> Result<Response, ServiceError> {
        self.throttle(HubAction::TwinRead).await?;
        let twin = self.hubs().twin_for_device(&self.identity);
        Ok(Response {
            topic: TwinResponseTopic::new(200, rid),
            body: twin.await?.to_string().into_bytes(),
        })
    }

    pub(super) async fn report(&self, rid: String, body: &[u8]) -> Result<Response, ServiceError> {
        self.throttle(HubAction::TwinUpdate).await?;
        let patch: Map<String, Value> = document(body)?;
        let version = self.hubs().report(&self.identity, &patch).await?;
        tracing::debug!(device = self.name, version, "reported properties");
        Ok(Response {
            topic: TwinResponseTopic::new(204, rid).with_version(version),
            body: Vec::new(),
        })
    }

    pub(super) fn respond(&self, response: Response) -> Answer {
        match self.session.qos(Subscription::TwinResponses) {
            Some(qos) => {
                Answer::Message(Message::new(response.topic.to_string(), response.body, qos))
            }
            None => Answer::Lost(format!(
                "the response was dropped: the client has not subscribed to '{TWIN_RESPONSE_FILTER}'"
            )),
        }
    }

    pub(super) fn refused(&self, rid: String, error: &ServiceError) -> Answer {
        if error.status() == 404 {
            return Answer::End("the device is no longer in the hub".to_owned());
        }
        let device = Some(self.name.as_str());
        self.gateway.refused(self.caller, device, error);
        let mut topic = TwinResponseTopic::new(error.status(), rid);
        if let Some(seconds) = error.retry_after_seconds {
            topic = topic.with_retry_after(seconds);
        }
        let body = Vec::new();
        self.respond(Response { topic, body })
    }
}
