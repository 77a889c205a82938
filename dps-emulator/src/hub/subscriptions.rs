//! The topic filters that a device or module can subscribe to at its hub.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-hub.md`.

use std::collections::BTreeMap;

use dps_mqtt::QoS;
use dps_types::protocol::hub::{DESIRED_FILTER, TWIN_RESPONSE_FILTER};
use dps_types::protocol::hub_certificate::RESPONSE_FILTER as CERTIFICATE_FILTER;
use dps_types::protocol::hub_message::{devicebound_filter, module_filter};
use dps_types::protocol::hub_method::METHOD_FILTER;

use super::Identity;

/// Cloud-to-device messages, as some clients subscribe to them.
const ANY_DEVICE_FILTER: &str = "devices/+/messages/devicebound/#";

/// A kind of message that a device or module receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subscription {
    TwinResponses,
    Desired,
    Methods,
    /// Cloud-to-device messages.
    Messages,
    /// The answers to certificate requests.
    Certificates,
    /// Messages between modules, which the emulator never sends.
    Inputs,
}

impl Subscription {
    /// The subscription for this topic filter.
    pub(crate) fn of(filter: &str, identity: &Identity) -> Option<Self> {
        match filter {
            TWIN_RESPONSE_FILTER => return Some(Self::TwinResponses),
            DESIRED_FILTER => return Some(Self::Desired),
            METHOD_FILTER => return Some(Self::Methods),
            CERTIFICATE_FILTER if identity.module_id.is_none() => return Some(Self::Certificates),
            _ => {}
        }
        // Clients write ids as they are; most ids need no encoding.
        let device = &identity.device_id;
        match &identity.module_id {
            None => {
                let plain = format!("devices/{device}/messages/devicebound/#");
                let filters = [ANY_DEVICE_FILTER, &plain, &devicebound_filter(device)];
                filters.contains(&filter).then_some(Self::Messages)
            }
            Some(module) => {
                let plain = format!("devices/{device}/modules/{module}/");
                let encoded = module_filter(device, module);
                let base = [plain.as_str(), encoded.trim_end_matches('#')];
                let rest = base.iter().find_map(|base| filter.strip_prefix(base))?;
                ["#", "inputs/#", "messages/devicebound/#"]
                    .contains(&rest)
                    .then_some(Self::Inputs)
            }
        }
    }
}

/// The subscriptions of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscriptions(BTreeMap<Subscription, QoS>);

impl Subscriptions {
    /// Adds a subscription; false if the connection has as many as it may have.
    pub(crate) fn add(&mut self, subscription: Subscription, qos: QoS, limit: u64) -> bool {
        let may = self.0.contains_key(&subscription) || (self.0.len() as u64) < limit;
        if may {
            self.0.insert(subscription, qos);
        }
        may
    }

    pub(crate) fn remove(&mut self, subscription: Subscription) {
        self.0.remove(&subscription);
    }

    /// The granted QoS; `None` without a subscription.
    pub(crate) fn qos(&self, subscription: Subscription) -> Option<QoS> {
        self.0.get(&subscription).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(text: &str) -> Identity {
        let (device, module) = match text.split_once('/') {
            Some((device, module)) => (device, Some(module.parse().expect("a module id"))),
            None => (text, None),
        };
        let hub = "hub-a".parse().expect("a host name");
        Identity::device(&hub, &device.parse().expect("a device id")).with_module(module)
    }

    #[test]
    fn a_device_has_the_documented_filters() {
        for (filter, expected) in [
            ("$iothub/twin/res/#", Subscription::TwinResponses),
            (
                "$iothub/twin/PATCH/properties/desired/#",
                Subscription::Desired,
            ),
            ("$iothub/methods/POST/#", Subscription::Methods),
            ("$iothub/credentials/res/#", Subscription::Certificates),
            (
                "devices/dev-1/messages/devicebound/#",
                Subscription::Messages,
            ),
            ("devices/+/messages/devicebound/#", Subscription::Messages),
        ] {
            let found = Subscription::of(filter, &identity("dev-1"));
            assert_eq!(found, Some(expected), "{filter}");
        }
        for filter in [
            "#",
            "devices/dev-2/messages/devicebound/#",
            "devices/dev-1/modules/m/#",
            "$iothub/methods/POST/+",
        ] {
            assert_eq!(Subscription::of(filter, &identity("dev-1")), None);
        }
    }

    #[test]
    fn a_module_has_its_own_filters() {
        let module = identity("dev-1/mod-1");
        for filter in [
            "devices/dev-1/modules/mod-1/#",
            "devices/dev-1/modules/mod-1/inputs/#",
        ] {
            let found = Subscription::of(filter, &module);
            assert_eq!(found, Some(Subscription::Inputs), "{filter}");
        }
        for filter in [
            "devices/dev-1/modules/mod-2/#",
            "devices/dev-1/messages/devicebound/#",
            "devices/+/messages/devicebound/#",
            "$iothub/credentials/res/#",
        ] {
            assert_eq!(Subscription::of(filter, &module), None, "{filter}");
        }
    }

    #[test]
    fn the_number_of_subscriptions_is_limited() {
        let mut subscriptions = Subscriptions::default();
        assert!(subscriptions.add(Subscription::Methods, QoS::AtMostOnce, 2));
        assert!(subscriptions.add(Subscription::Desired, QoS::AtMostOnce, 2));
        assert!(!subscriptions.add(Subscription::Messages, QoS::AtMostOnce, 2));
        assert!(subscriptions.add(Subscription::Methods, QoS::AtLeastOnce, 2));
        let qos = subscriptions.qos(Subscription::Methods);
        assert_eq!(qos, Some(QoS::AtLeastOnce));
        subscriptions.remove(Subscription::Desired);
        assert!(subscriptions.add(Subscription::Messages, QoS::AtMostOnce, 2));
    }
}
