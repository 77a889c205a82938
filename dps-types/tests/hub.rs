//! The hub over MQTT: username and topics as literals from the documentation and from official clients.

use dps_types::protocol::hub::{
    API_VERSION, DESIRED_FILTER, DesiredTopic, TWIN_RESPONSE_FILTER, TwinRequestTopic,
    TwinResponseTopic, Username, client_id, module_resource, resource,
};
use proptest::prelude::*;

fn username() -> Username {
    Username::new(
        "contoso.azure-devices.net".parse().expect("valid"),
        "MyDevice01".parse().expect("valid"),
    )
}

#[test]
fn a_username_is_written_as_documented() {
    assert_eq!(
        username().to_string(),
        "contoso.azure-devices.net/MyDevice01/?api-version=2021-04-12"
    );
    let more = username()
        .with_client_type("dps-device/0.1.0 (Linux)")
        .with_model_id("dtmi:com:example:Toaster;1");
    assert_eq!(
        more.to_string(),
        "contoso.azure-devices.net/MyDevice01/?api-version=2021-04-12&DeviceClientType=dps-device%2F0.1.0%20%28Linux%29&model-id=dtmi%3Acom%3Aexample%3AToaster%3B1"
    );
    assert_eq!(more.to_string().parse(), Ok(more));
}

#[test]
fn usernames_of_other_clients_are_read() {
    for (text, client_type, model_id) in [
        (
            "contoso.azure-devices.net/MyDevice01/?api-version=2021-04-12",
            None,
            None,
        ),
        (
            "contoso.azure-devices.net/MyDevice01/api-version=2021-04-12",
            None,
            None,
        ),
        (
            "contoso.azure-devices.net/MyDevice01/?API-Version=2021-04-12&DeviceClientType=py-azure-iot-device%2F2.14",
            Some("py-azure-iot-device/2.14"),
            None,
        ),
        (
            "contoso.azure-devices.net/MyDevice01/?api-version=2021-04-12&model-id=dtmi:com:example:Toaster;1",
            None,
            Some("dtmi:com:example:Toaster;1"),
        ),
    ] {
        let read: Username = text.parse().expect(text);
        assert_eq!(read.hub.as_str(), "contoso.azure-devices.net", "{text}");
        assert_eq!(read.device_id.as_str(), "MyDevice01", "{text}");
        assert_eq!(read.api_version, API_VERSION, "{text}");
        assert_eq!(read.client_type.as_deref(), client_type, "{text}");
        assert_eq!(read.model_id.as_deref(), model_id, "{text}");
    }
    // A device id may contain text that looks like an escape.
    let read: Username = "hub/a%41#+?/?api-version=2021-04-12"
        .parse()
        .expect("valid");
    assert_eq!(read.device_id.as_str(), "a%41#+?");
}

#[test]
fn a_module_has_its_own_username_client_id_and_resource() {
    let module = "$edgeAgent".parse().expect("valid");
    let Username { hub, device_id, .. } = username();
    assert_eq!(
        client_id(&device_id, Some(&module)),
        "MyDevice01/$edgeAgent"
    );
    assert_eq!(client_id(&device_id, None), "MyDevice01");
    assert_eq!(
        module_resource(&hub, &device_id, &module),
        "contoso.azure-devices.net/devices/MyDevice01/modules/$edgeAgent"
    );
    let text = "contoso.azure-devices.net/MyDevice01/$edgeAgent/?api-version=2021-04-12";
    let username = username().with_module(module.clone());
    assert_eq!(username.to_string(), text);
    for text in [text, &text.replace('?', "")] {
        assert_eq!(text.parse(), Ok(username.clone()));
    }
    // A slash in the value of a parameter does not make a module.
    let text = "hub/device/?DeviceClientType=a/b&api-version=2021-04-12";
    let read: Username = text.parse().expect("valid");
    assert_eq!(read.module_id, None);
    assert_eq!(read.client_type.as_deref(), Some("a/b"));
}

#[test]
fn an_invalid_username_for_a_hub_is_refused() {
    for text in [
        "",
        "hub",
        "hub/device",
        "hub/device/",
        "hub/device/?DeviceClientType=x",
        "hub/device/?api-version=latest",
        "hub/device/module/?api-version-of-a-module",
        "hub//?api-version=2021-04-12",
        "/device/?api-version=2021-04-12",
        "0ne00000A0A/registrations/dev:1/api-version",
    ] {
        assert!(text.parse::<Username>().is_err(), "{text}");
    }
}

#[test]
fn a_token_claims_the_device() {
    let Username { hub, device_id, .. } = username();
    assert_eq!(
        resource(&hub, &device_id),
        "contoso.azure-devices.net/devices/MyDevice01"
    );
}

#[test]
fn topics_are_written_as_documented() {
    assert_eq!(TWIN_RESPONSE_FILTER, "$iothub/twin/res/#");
    assert_eq!(DESIRED_FILTER, "$iothub/twin/PATCH/properties/desired/#");
    let rid = || "0815".to_owned();
    for (topic, text) in [
        (
            TwinRequestTopic::Get { rid: rid() },
            "$iothub/twin/GET/?$rid=0815",
        ),
        (
            TwinRequestTopic::PatchReported { rid: rid() },
            "$iothub/twin/PATCH/properties/reported/?$rid=0815",
        ),
    ] {
        assert_eq!(topic.to_string(), text);
        assert_eq!(text.parse(), Ok(topic));
    }
    for (topic, text) in [
        (
            TwinResponseTopic::new(200, "0815"),
            "$iothub/twin/res/200/?$rid=0815",
        ),
        (
            TwinResponseTopic::new(204, "0815").with_version(6),
            "$iothub/twin/res/204/?$rid=0815&$version=6",
        ),
        (
            TwinResponseTopic::new(429, "0815").with_retry_after(5),
            "$iothub/twin/res/429/?$rid=0815&retry-after=5",
        ),
    ] {
        assert_eq!(topic.to_string(), text);
        assert_eq!(text.parse(), Ok(topic));
    }
    let text = "$iothub/twin/PATCH/properties/desired/?$version=8";
    assert_eq!(DesiredTopic::new(8).to_string(), text);
    assert_eq!(text.parse(), Ok(DesiredTopic::new(8)));
}

#[test]
fn an_invalid_topic_of_a_twin_is_refused() {
    for text in [
        "$iothub/twin/GET/",
        "$iothub/twin/GET/$rid=1",
        "$iothub/twin/GET/?rid=1",
        "$iothub/twin/POST/?$rid=1",
        "$iothub/twin/PATCH/properties/desired/?$rid=1",
        "$dps/registrations/PUT/iotdps-register/?$rid=1",
    ] {
        assert!(text.parse::<TwinRequestTopic>().is_err(), "{text}");
    }
    for text in [
        "$iothub/twin/res/",
        "$iothub/twin/res/200",
        "$iothub/twin/res/200/?$version=1",
        "$iothub/twin/res/20/?$rid=1",
        "$iothub/twin/res/+20/?$rid=1",
        "$iothub/twin/res/204/?$rid=1&$version=",
        "$iothub/twin/res/204/?$rid=1&$version=+6",
        "$iothub/twin/res/204/?$rid=1&$version=99999999999999999999",
        "$dps/registrations/res/200/?$rid=1",
    ] {
        assert!(text.parse::<TwinResponseTopic>().is_err(), "{text}");
    }
    for text in [
        "$iothub/twin/PATCH/properties/desired/",
        "$iothub/twin/PATCH/properties/desired/?version=8",
        "$iothub/twin/PATCH/properties/desired/?$version=-8",
        "$iothub/twin/PATCH/properties/reported/?$version=8",
    ] {
        assert!(text.parse::<DesiredTopic>().is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\$iothub/twin/(res/|GET/|PATCH/properties/(desired|reported)/))?[0-9]{0,4}/?\\??[$a-z0-9=&%.]{0,40}") {
        if let Ok(topic) = text.parse::<TwinResponseTopic>() {
            prop_assert_eq!(topic.to_string().parse(), Ok(topic));
        }
        if let Ok(topic) = text.parse::<TwinRequestTopic>() {
            prop_assert_eq!(topic.to_string().parse(), Ok(topic));
        }
        if let Ok(topic) = text.parse::<DesiredTopic>() {
            prop_assert_eq!(topic.to_string().parse(), Ok(topic));
        }
        let _ = text.parse::<Username>();
    }

    #[test]
    fn a_request_id_is_returned_unchanged(rid in "[A-Za-z0-9%._~:@-]{1,40}", version in any::<u64>()) {
        let asked = format!("$iothub/twin/PATCH/properties/reported/?$rid={rid}");
        let Ok(TwinRequestTopic::PatchReported { rid: mark }) = asked.parse() else {
            return Err(TestCaseError::fail(asked));
        };
        let answer = TwinResponseTopic::new(204, mark).with_version(version);
        prop_assert_eq!(answer.to_string(), format!("$iothub/twin/res/204/?$rid={rid}&$version={version}"));
    }
}
