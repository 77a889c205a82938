//! MQTT: username and topics as literals from the documentation and from official clients.

use dps_types::protocol::ApiVersion;
use dps_types::protocol::mqtt::{
    RESPONSE_FILTER, RequestTopic, ResponseTopic, Username, WEBSOCKET_PATH, WEBSOCKET_PROTOCOL,
};

fn username() -> Username {
    Username::new(
        "0ne00000A0A".parse().expect("valid"),
        "dev:1".parse().expect("valid"),
        ApiVersion::V2019_03_31,
    )
}

#[test]
fn a_username_is_written_as_documented() {
    assert_eq!(
        username().to_string(),
        "0ne00000A0A/registrations/dev:1/api-version=2019-03-31"
    );
    let agent = username().with_client_version("azure-iot-provisioning-device/1.9.1");
    assert_eq!(
        agent.to_string(),
        "0ne00000A0A/registrations/dev:1/api-version=2019-03-31&ClientVersion=azure-iot-provisioning-device%2F1.9.1"
    );
}

#[test]
fn usernames_of_the_official_clients_are_read() {
    for (text, agent) in [
        (
            "0ne00000A0A/registrations/dev:1/api-version=2019-03-31",
            None,
        ),
        (
            "0ne00000A0A/registrations/dev%3A1/api-version=2019-03-31",
            None,
        ),
        (
            "0ne00000A0A/registrations/dev:1/?api-version=2019-03-31",
            None,
        ),
        (
            "0ne00000A0A/Registrations/DEV:1/API-Version=2019-03-31",
            None,
        ),
        (
            "0ne00000A0A/registrations/dev:1/api-version=2019-03-31&ClientVersion=azure-iot-provisioning-device%2F1.9.1",
            Some("azure-iot-provisioning-device/1.9.1"),
        ),
        (
            "0ne00000A0A/registrations/dev:1/ClientVersion=1.15.0&api-version=2019-03-31",
            Some("1.15.0"),
        ),
        (
            "0ne00000A0A/registrations/dev:1/api-version=2019-03-31&ClientVersion=a/b/c",
            Some("a/b/c"),
        ),
    ] {
        let mut expected = username();
        expected.client_version = agent.map(str::to_owned);
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    let c: Username = "0ne1/registrations/a/api-version=2021-06-01&ClientVersion=1.15.0"
        .parse()
        .unwrap();
    assert_eq!(c.api_version, ApiVersion::V2021_06_01);
}

#[test]
fn an_invalid_username_is_refused_with_a_reason() {
    for (text, reason) in [
        ("", "it is empty"),
        ("0ne1", "it has fewer than four parts"),
        ("0ne1/registrations", "it has fewer than four parts"),
        ("0ne1/registrations/a", "it has fewer than four parts"),
        (
            "0ne1/devices/a/api-version=2019-03-31",
            "its second part is not 'registrations'",
        ),
        (
            "0ne1/registrations/a b/api-version=2019-03-31",
            "the character ' ' at position 2 is not allowed",
        ),
        (
            "0ne1/registrations/%FF/api-version=2019-03-31",
            "its third part is not UTF-8",
        ),
        ("0ne1/registrations/a/", "it has no api-version"),
        (
            "0ne1/registrations/a/api-version=soon",
            "it is not YYYY-MM-DD or YYYY-MM-DD-preview",
        ),
        // An IoT hub's username, on the same port.
        (
            "hub.azure-devices.net/dev1/?api-version=2021-04-12",
            "the character '.' at position 4 is not allowed",
        ),
    ] {
        let error = text.parse::<Username>().expect_err(text);
        assert_eq!(error.reason(), reason, "{text}");
    }
}

fn register(rid: &str) -> RequestTopic {
    RequestTopic::Register { rid: rid.into() }
}

fn status(rid: &str, operation_id: &str) -> RequestTopic {
    RequestTopic::OperationStatus {
        rid: rid.into(),
        operation_id: operation_id.parse().expect("valid"),
    }
}

#[test]
fn requests_are_written_as_documented() {
    assert_eq!(
        register("1").to_string(),
        "$dps/registrations/PUT/iotdps-register/?$rid=1"
    );
    assert_eq!(
        status(
            "2",
            "4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d"
        )
        .to_string(),
        "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2\
         &operationId=4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d"
    );
}

#[test]
fn requests_are_read_as_clients_write_them() {
    for (text, expected) in [
        (
            "$dps/registrations/PUT/iotdps-register/?$rid=1",
            register("1"),
        ),
        (
            "$dps/registrations/PUT/iotdps-register/?$rid=0c4fdc4b-4ee7-4b8c-8b0f-8e3fb1c1c1c5",
            register("0c4fdc4b-4ee7-4b8c-8b0f-8e3fb1c1c1c5"),
        ),
        (
            "$dps/registrations/PUT/iotdps-register/?$rid=",
            register(""),
        ),
        (
            "$dps/registrations/PUT/iotdps-register/?$rid=a%26b",
            register("a%26b"),
        ),
        (
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId=4.d0.42",
            status("2", "4.d0.42"),
        ),
        (
            "$dps/registrations/GET/iotdps-get-operationstatus/?operationId=4.d0.42&$rid=2",
            status("2", "4.d0.42"),
        ),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
}

#[test]
fn an_invalid_request_is_refused_with_a_reason() {
    const GET: &str = "$dps/registrations/GET/iotdps-get-operationstatus/";
    let other = "it is neither a registration nor a status request";
    for (text, reason) in [
        ("", other),
        ("$dps/registrations/PUT/iotdps-register", other),
        ("$dps/registrations/PUT/iotdps-register/$rid=1", other),
        ("$dps/registrations/res/202/?$rid=1", other),
        ("$iothub/twin/GET/?$rid=1", other),
        (
            "$dps/registrations/PUT/iotdps-register/?rid=1",
            "it has no $rid",
        ),
        (&format!("{GET}?$rid=1"), "it has no operationId"),
        (&format!("{GET}?operationId=4.x"), "it has no $rid"),
        (
            &format!("{GET}?$rid=1\0&operationId=4.x"),
            "its $rid holds a character that a topic cannot",
        ),
        (&format!("{GET}?$rid=1&operationId="), "it is empty"),
        (
            &format!("{GET}?$rid=1&operationId=a%2Fb"),
            "the character '/' at position 2 is not allowed",
        ),
    ] {
        let error = text.parse::<RequestTopic>().expect_err(text);
        assert_eq!(error.reason(), reason, "{text}");
    }
}

/// Exactly this form: the Python client takes it apart at each `$`.
#[test]
fn responses_are_written_as_documented() {
    assert_eq!(
        ResponseTopic::new(202, "1").with_retry_after(3).to_string(),
        "$dps/registrations/res/202/?$rid=1&retry-after=3"
    );
    assert_eq!(
        ResponseTopic::new(200, "0c4fdc4b-4ee7-4b8c-8b0f-8e3fb1c1c1c5").to_string(),
        "$dps/registrations/res/200/?$rid=0c4fdc4b-4ee7-4b8c-8b0f-8e3fb1c1c1c5"
    );
}

#[test]
fn responses_are_read_in_either_order_and_any_case() {
    let retry = |rid, seconds| ResponseTopic::new(202, rid).with_retry_after(seconds);
    for (text, expected) in [
        (
            "$dps/registrations/res/202/?$rid=1&retry-after=3",
            retry("1", 3),
        ),
        (
            "$dps/registrations/res/202/?retry-after=120&$rid=1",
            retry("1", 120),
        ),
        (
            "$dps/registrations/res/202/?$rid=1&Retry-After=3",
            retry("1", 3),
        ),
        (
            "$dps/registrations/res/202/?$rid=1&new=2&RETRY-AFTER=3",
            retry("1", 3),
        ),
        (
            "$dps/registrations/res/200/?$rid=1",
            ResponseTopic::new(200, "1"),
        ),
        (
            "$dps/registrations/res/401/?$rid=",
            ResponseTopic::new(401, ""),
        ),
    ] {
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }
    // The wait is passed on as text; the parser of Retry-After interprets it.
    let junk: ResponseTopic = "$dps/registrations/res/429/?$rid=1&retry-after=soon"
        .parse()
        .unwrap();
    assert_eq!(junk.retry_after.as_deref(), Some("soon"));
}

#[test]
fn an_invalid_response_is_refused_with_a_reason() {
    for (text, reason) in [
        ("", "it is not a response to a registration"),
        (
            "$iothub/twin/res/200/?$rid=1",
            "it is not a response to a registration",
        ),
        ("$dps/registrations/res/202", "it has no parameters"),
        ("$dps/registrations/res/?$rid=1", "it has no parameters"),
        (
            "$dps/registrations/res//?$rid=1",
            "its status is not one of HTTP",
        ),
        (
            "$dps/registrations/res/20/?$rid=1",
            "its status is not one of HTTP",
        ),
        (
            "$dps/registrations/res/+20/?$rid=1",
            "its status is not one of HTTP",
        ),
        (
            "$dps/registrations/res/023/?$rid=1",
            "its status is not one of HTTP",
        ),
        (
            "$dps/registrations/res/2000/?$rid=1",
            "its status is not one of HTTP",
        ),
        (
            "$dps/registrations/res/202/?retry-after=3",
            "it has no $rid",
        ),
    ] {
        let error = text.parse::<ResponseTopic>().expect_err(text);
        assert_eq!(error.reason(), reason, "{text}");
    }
}

#[test]
fn names_on_the_wire_are_those_of_the_service() {
    assert_eq!(RESPONSE_FILTER, "$dps/registrations/res/#");
    assert_eq!(WEBSOCKET_PATH, "/$iothub/websocket");
    assert_eq!(WEBSOCKET_PROTOCOL, "mqtt");
}
