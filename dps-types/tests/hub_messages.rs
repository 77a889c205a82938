//! Messages and direct methods of a hub over MQTT: topics as literals from the documentation and from official clients.

use dps_types::protocol::hub_message::{
    DeviceboundTopic, EventsTopic, InputTopic, PropertyBag, devicebound_filter, module_filter,
    property,
};
use dps_types::protocol::hub_method::{METHOD_FILTER, MethodRequestTopic, MethodResponseTopic};
use dps_types::{DeviceId, ModuleId};
use proptest::prelude::*;

fn device() -> DeviceId {
    "MyDevice01".parse().expect("valid")
}

fn module() -> ModuleId {
    "$edgeAgent".parse().expect("valid")
}

fn bag(pairs: &[(&str, &str)]) -> PropertyBag {
    let mut bag = PropertyBag::new();
    pairs
        .iter()
        .for_each(|(name, value)| bag.insert(*name, *value));
    bag
}

#[test]
fn topics_of_messages_are_written_as_documented() {
    let properties = bag(&[
        (property::MESSAGE_ID, "abc"),
        (property::CONTENT_TYPE, "application/json"),
        (property::CONTENT_ENCODING, "utf-8"),
        ("alert level", "a+b&c=d"),
    ]);
    for (topic, text) in [
        (
            EventsTopic::new(device(), None, PropertyBag::new()),
            "devices/MyDevice01/messages/events/",
        ),
        (
            EventsTopic::new(device(), None, properties.clone()),
            "devices/MyDevice01/messages/events/%24.mid=abc&%24.ct=application%2Fjson&%24.ce=utf-8&alert%20level=a%2Bb%26c%3Dd",
        ),
        (
            EventsTopic::new(device(), Some(module()), bag(&[("a", "")])),
            "devices/MyDevice01/modules/%24edgeAgent/messages/events/a=",
        ),
        (
            EventsTopic::new(
                "a#+/".trim_end_matches('/').parse().expect("valid"),
                None,
                PropertyBag::new(),
            ),
            "devices/a%23%2B/messages/events/",
        ),
    ] {
        assert_eq!(topic.to_string(), text);
        assert_eq!(text.parse(), Ok(topic));
    }
    let text = "devices/MyDevice01/messages/devicebound/%24.mid=7&iothub-ack=full";
    let topic = DeviceboundTopic::new(device(), bag(&[("$.mid", "7"), (property::ACK, "full")]));
    assert_eq!(topic.to_string(), text);
    assert_eq!(text.parse(), Ok(topic));

    let text = "devices/MyDevice01/modules/%24edgeAgent/inputs/in%2F1/a=b";
    let topic = InputTopic::new(device(), module(), "in/1", bag(&[("a", "b")]));
    assert_eq!(topic.to_string(), text);
    assert_eq!(text.parse(), Ok(topic));

    assert_eq!(
        devicebound_filter(&device()),
        "devices/MyDevice01/messages/devicebound/#"
    );
    assert_eq!(
        module_filter(&device(), &module()),
        "devices/MyDevice01/modules/%24edgeAgent/#"
    );
}

/// With and without encoding, without the last slash, with `?` and with a slash at the end.
#[test]
fn topics_of_other_clients_are_read() {
    for text in [
        "devices/MyDevice01/messages/events/$.ct=text%2Fplain&flag&x=1%3D",
        "devices/MyDevice01/messages/events/?%24.ct=text%2Fplain&flag=&x=1=",
        "devices/MyDevice01/messages/events/&%24.ct=text%2Fplain&&flag&x=1%3d/",
        "devices/MyDevice01/messages/events/x=0&%24.ct=text%2Fplain&flag&x=1%3D",
    ] {
        let read: EventsTopic = text.parse().expect(text);
        assert_eq!(read.properties.get("$.ct"), Some("text/plain"), "{text}");
        assert_eq!(read.properties.get("flag"), Some(""), "{text}");
        assert_eq!(read.properties.get("x"), Some("1="), "{text}");
        assert_eq!(read.properties.len(), 3, "{text}");
    }
    let read: EventsTopic = "devices/a/messages/events".parse().expect("valid");
    assert!(read.properties.is_empty());
    let read: InputTopic = "devices/a/modules/m/inputs/in".parse().expect("valid");
    assert_eq!(read.input, "in");
    let text = "devices/a/messages/devicebound/%24.to=%2Fdevices%2Fa%2Fmessages%2Fdevicebound&%24.exp=2026-11-27T10%3A00%3A00Z";
    let read: DeviceboundTopic = text.parse().expect("valid");
    assert_eq!(
        read.properties.get(property::TO),
        Some("/devices/a/messages/devicebound")
    );
}

#[test]
fn other_topics_of_messages_are_refused() {
    for text in [
        "",
        "devices/",
        "devices/a",
        "devices//messages/events/",
        "devices/a/messages/eventsx",
        "devices/a/messages/events/x/y",
        "devices/a/messages/events/=x",
        "devices/a/messages/events/%ff=x",
        "devices/a/messages/events/x=%ff",
        "devices/%ff/messages/events/",
        "devices/a/modules/m",
        "devices/a/modules/m/messages/devicebound/",
        "Devices/a/messages/events/",
        "$iothub/twin/res/200/?$rid=1",
    ] {
        assert!(text.parse::<EventsTopic>().is_err(), "{text}");
        assert!(text.parse::<DeviceboundTopic>().is_err(), "{text}");
        assert!(text.parse::<InputTopic>().is_err(), "{text}");
    }
    let no_module = "devices/a/inputs/in/";
    assert!(no_module.parse::<InputTopic>().is_err());
}

#[test]
fn topics_of_methods_are_those_of_the_documentation() {
    assert_eq!(METHOD_FILTER, "$iothub/methods/POST/#");
    for (topic, text) in [
        (
            MethodRequestTopic::new("reboot", "1f"),
            "$iothub/methods/POST/reboot/?$rid=1f",
        ),
        (
            MethodRequestTopic::new("a b/c", "1f"),
            "$iothub/methods/POST/a%20b%2Fc/?$rid=1f",
        ),
    ] {
        assert_eq!(topic.to_string(), text);
        assert_eq!(text.parse(), Ok(topic));
    }
    for (topic, text) in [
        (
            MethodResponseTopic::new(200, "1f"),
            "$iothub/methods/res/200/?$rid=1f",
        ),
        (
            MethodResponseTopic::new(-1, "1f"),
            "$iothub/methods/res/-1/?$rid=1f",
        ),
    ] {
        assert_eq!(topic.to_string(), text);
        assert_eq!(text.parse(), Ok(topic));
    }
}

#[test]
fn other_topics_of_methods_are_refused() {
    for text in [
        "$iothub/methods/POST/",
        "$iothub/methods/POST/reboot",
        "$iothub/methods/POST/reboot/?rid=1",
        "$iothub/methods/POST//?$rid=1",
        "$iothub/methods/POST/%ff/?$rid=1",
        "$iothub/methods/GET/reboot/?$rid=1",
    ] {
        assert!(text.parse::<MethodRequestTopic>().is_err(), "{text}");
    }
    for text in [
        "$iothub/methods/res/200",
        "$iothub/methods/res//?$rid=1",
        "$iothub/methods/res/-/?$rid=1",
        "$iothub/methods/res/+200/?$rid=1",
        "$iothub/methods/res/2x/?$rid=1",
        "$iothub/methods/res/99999999999/?$rid=1",
        "$iothub/methods/res/200/?status=1",
    ] {
        assert!(text.parse::<MethodResponseTopic>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn properties_survive_the_topic(
        pairs in proptest::collection::vec(("\\PC{1,8}", "\\PC{0,8}"), 0..8),
        device in "[A-Za-z0-9:.+%_#*?!(),=@;$'-]{1,20}",
    ) {
        let mut properties = PropertyBag::new();
        pairs.iter().for_each(|(name, value)| properties.insert(name, value));
        let device: DeviceId = device.parse().unwrap();
        let topic = EventsTopic::new(device.clone(), Some(module()), properties.clone());
        let text = topic.to_string();
        prop_assert!(!text.contains(['#', '+']));
        prop_assert_eq!(text.parse(), Ok(topic));
        let topic = DeviceboundTopic::new(device.clone(), properties.clone());
        prop_assert_eq!(topic.to_string().parse(), Ok(topic));
        let topic = InputTopic::new(device, module(), "in", properties);
        prop_assert_eq!(topic.to_string().parse(), Ok(topic));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(devices/a/(modules/b/)?(messages/(events|devicebound)|inputs/c)/)?[ -~é]{0,30}") {
        if let Ok(read) = text.parse::<EventsTopic>() {
            prop_assert_eq!(read.to_string().parse(), Ok(read));
        }
        if let Ok(read) = text.parse::<DeviceboundTopic>() {
            prop_assert_eq!(read.to_string().parse(), Ok(read));
        }
        if let Ok(read) = text.parse::<InputTopic>() {
            prop_assert_eq!(read.to_string().parse(), Ok(read));
        }
    }

    #[test]
    fn names_and_ids_of_methods_survive_the_topic(name in "\\PC{1,12}", rid in "[a-zA-Z0-9-]{1,36}", status: i32) {
        let topic = MethodRequestTopic::new(name, rid.clone());
        prop_assert_eq!(topic.to_string().parse(), Ok(topic));
        let topic = MethodResponseTopic::new(status, rid);
        prop_assert_eq!(topic.to_string().parse(), Ok(topic));
    }
}
