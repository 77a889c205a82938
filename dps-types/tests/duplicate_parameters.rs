//! A parameter that an MQTT user name or topic has twice is refused, for DPS and for hubs, requests and responses: which value
//! counts would depend on the reader. Only of the waits in a response, the first counts.

use dps_types::protocol::{hub, hub_certificate, hub_method, mqtt, single_query_parameter};

fn is_refused<T: std::str::FromStr>(text: &str) -> bool {
    text.parse::<T>().is_err()
}

#[test]
fn a_parameter_that_occurs_twice_is_refused() {
    type IsRefused = fn(&str) -> bool;
    let table: &[(IsRefused, &str)] = &[
        (
            is_refused::<mqtt::Username>,
            "0ne00000A0A/registrations/d/api-version=2021-06-01&API-Version=2019-03-31",
        ),
        (
            is_refused::<mqtt::Username>,
            "0ne00000A0A/registrations/d/api-version=2021-06-01&api%2Dversion=2021-06-01",
        ),
        (
            is_refused::<mqtt::Username>,
            "0ne00000A0A/registrations/d/api-version=2021-06-01&ClientVersion=a&clientversion=b",
        ),
        (
            is_refused::<mqtt::RequestTopic>,
            "$dps/registrations/PUT/iotdps-register/?$rid=1&$rid=2",
        ),
        (
            is_refused::<mqtt::RequestTopic>,
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId=4.a&operationId=4.b",
        ),
        (
            is_refused::<mqtt::ResponseTopic>,
            "$dps/registrations/res/202/?$rid=1&$rid=2",
        ),
        (
            is_refused::<hub::Username>,
            "h.azure-devices.net/d/?api-version=2021-04-12&api-version=2018-06-30",
        ),
        (
            is_refused::<hub::Username>,
            "h.azure-devices.net/d/?api-version=2021-04-12&model-id=a&model-id=b",
        ),
        (
            is_refused::<hub::Username>,
            "h.azure-devices.net/d/?api-version=2021-04-12&DeviceClientType=a&DeviceClientType=b",
        ),
        (
            is_refused::<hub::TwinRequestTopic>,
            "$iothub/twin/GET/?$rid=1&$rid=2",
        ),
        (
            is_refused::<hub::TwinResponseTopic>,
            "$iothub/twin/res/204/?$rid=1&$version=7&$version=8",
        ),
        (
            is_refused::<hub::DesiredTopic>,
            "$iothub/twin/PATCH/properties/desired/?$version=7&$version=8",
        ),
        (
            is_refused::<hub_method::MethodRequestTopic>,
            "$iothub/methods/POST/reboot/?$rid=1&$rid=2",
        ),
        (
            is_refused::<hub_certificate::RequestTopic>,
            "$iothub/credentials/POST/issueCertificate/?$rid=aaaa&$rid=bbbb",
        ),
        (
            is_refused::<hub_certificate::ResponseTopic>,
            "$iothub/credentials/res/202/?$rid=aaaa&$rid=bbbb",
        ),
    ];
    for (is_refused, text) in table {
        assert!(is_refused(text), "{text}");
        let (once, _) = text.rsplit_once('&').expect("two parameters");
        assert!(!is_refused(once), "{once}");
    }
}

#[test]
fn of_two_waits_the_first_counts() {
    let topic = "$dps/registrations/res/202/?$rid=1&retry-after=3&retry-after=9";
    let topic: mqtt::ResponseTopic = topic.parse().unwrap();
    assert_eq!(topic.retry_after.as_deref(), Some("3"));
}

#[test]
fn a_parameter_that_may_occur_once_is_decoded() {
    let read = |query| single_query_parameter(query, "name").map_err(|error| error.to_string());
    assert_eq!(read("a=1&NAME=b%20c"), Ok(Some("b c".to_owned())));
    assert_eq!(read("a=1"), Ok(None));
    assert_eq!(read("name=%FF"), Ok(None));
    let error = read("name=1&n%61me=1").unwrap_err();
    assert!(error.contains("occurs more than once"), "{error}");
}
