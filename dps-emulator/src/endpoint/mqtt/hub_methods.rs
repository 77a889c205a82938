//! The direct methods that a connected device has received and not yet responded to.

use std::collections::HashMap;

use dps_mqtt::QoS;
use dps_types::protocol::hub_method::{MethodRequestTopic, MethodResponseTopic};
use serde_json::Value;
use tokio::sync::oneshot;

use super::super::call::document;
use super::session::Message;
use crate::hub::{MAX_METHOD_PAYLOAD, MethodCall, MethodResponse};

/// The methods that wait for a response, by request id.
#[derive(Debug, Default)]
pub(super) struct PendingMethods {
    last: u64,
    waiting: HashMap<String, oneshot::Sender<MethodResponse>>,
}

impl PendingMethods {
    /// Remembers the call, and returns the message for the device.
    pub(super) fn start(&mut self, call: MethodCall) -> Message {
        // Callers that no longer wait have closed their end.
        self.waiting.retain(|_, response| !response.is_closed());
        self.last += 1;
        let rid = format!("{:x}", self.last);
        self.waiting.insert(rid.clone(), call.response);
        Message::new(
            MethodRequestTopic::new(call.name, rid).to_string(),
            call.payload,
            QoS::AtMostOnce,
        )
    }

    /// Passes the response of the device to the caller. An error is the reason for which the response is not valid.
    pub(super) fn finish(
        &mut self,
        topic: &MethodResponseTopic,
        body: &[u8],
    ) -> Result<(), String> {
        if body.len() > MAX_METHOD_PAYLOAD {
            return Err(format!(
                "the response to a direct method has {} bytes, and the limit is {MAX_METHOD_PAYLOAD}",
                body.len()
            ));
        }
        let payload = match body.trim_ascii() {
            [] => Value::Null,
            body => document(body)
                .map_err(|error| format!("the response to a direct method: {}", error.message()))?,
        };
        match self.waiting.remove(&topic.rid) {
            Some(response) => {
                let _ = response.send(MethodResponse::new(topic.status, payload));
            }
            None => tracing::debug!(rid = topic.rid, "a response to no pending method"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call() -> (MethodCall, oneshot::Receiver<MethodResponse>) {
        let (response, receiver) = oneshot::channel();
        let call = MethodCall {
            name: "reboot".to_owned(),
            payload: b"null".to_vec(),
            response,
        };
        (call, receiver)
    }

    #[test]
    fn a_response_reaches_the_caller_with_its_request_id() {
        let mut methods = PendingMethods::default();
        let (first, mut at_first) = call();
        let (second, mut at_second) = call();
        assert_eq!(
            methods.start(first).topic,
            "$iothub/methods/POST/reboot/?$rid=1"
        );
        methods.start(second);
        let topic = "$iothub/methods/res/201/?$rid=2".parse().expect("a topic");
        assert_eq!(methods.finish(&topic, b"{\"ok\":true}"), Ok(()));
        let response = at_second.try_recv().expect("responded");
        assert_eq!(response, MethodResponse::new(201, json!({ "ok": true })));
        assert!(at_first.try_recv().is_err());
        assert_eq!(methods.finish(&topic, b""), Ok(()), "a second response");
    }

    #[test]
    fn callers_that_no_longer_wait_are_forgotten() {
        let mut methods = PendingMethods::default();
        for _ in 0..100 {
            methods.start(call().0);
        }
        assert_eq!(methods.waiting.len(), 1);
    }

    #[test]
    fn responses_that_are_too_large_or_not_json_are_refused() {
        let mut methods = PendingMethods::default();
        let topic = "$iothub/methods/res/200/?$rid=1".parse().expect("a topic");
        assert!(methods.finish(&topic, b"{").is_err());
        let large = vec![b' '; MAX_METHOD_PAYLOAD + 1];
        assert!(methods.finish(&topic, &large).is_err());
    }
}
