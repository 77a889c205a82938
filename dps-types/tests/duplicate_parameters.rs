//! A parameter that an MQTT user name or topic has twice: the first value counts, for DPS and for hubs, requests and responses.
//!
//! Device client and emulator use these parsers, so they cannot disagree. Over HTTPS the emulator refuses such a request.

use dps_types::protocol::{hub, hub_certificate, hub_method, mqtt};

/// Parses a text and writes what was read, in the one form that is written.
fn read<T: std::str::FromStr + std::fmt::Display>(text: &str) -> String
where
    T::Err: std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(read) => read.to_string(),
        Err(error) => panic!("{text}: {error}"),
    }
}

#[test]
fn the_first_of_two_parameters_counts() {
    type Read = fn(&str) -> String;
    let table: &[(Read, &str, &str)] = &[
        (
            read::<mqtt::Username>,
            "0ne00000A0A/registrations/d/api-version=2021-06-01&API-Version=2019-03-31&ClientVersion=a&clientversion=b",
            "0ne00000A0A/registrations/d/api-version=2021-06-01&ClientVersion=a",
        ),
        (
            read::<mqtt::RequestTopic>,
            "$dps/registrations/PUT/iotdps-register/?$rid=1&$rid=2",
            "$dps/registrations/PUT/iotdps-register/?$rid=1",
        ),
        (
            read::<mqtt::RequestTopic>,
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId=4.a&$rid=2&operationId=4.b",
            "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId=4.a",
        ),
        (
            read::<mqtt::ResponseTopic>,
            "$dps/registrations/res/202/?$rid=1&retry-after=3&$rid=2&retry-after=9",
            "$dps/registrations/res/202/?$rid=1&retry-after=3",
        ),
        (
            read::<hub::Username>,
            "h.azure-devices.net/d/?api-version=2021-04-12&api-version=2018-06-30&model-id=a&model-id=b",
            "h.azure-devices.net/d/?api-version=2021-04-12&model-id=a",
        ),
        (
            read::<hub::TwinRequestTopic>,
            "$iothub/twin/GET/?$rid=1&$rid=2",
            "$iothub/twin/GET/?$rid=1",
        ),
        (
            read::<hub::TwinResponseTopic>,
            "$iothub/twin/res/204/?$rid=1&$version=7&$version=8&$rid=2",
            "$iothub/twin/res/204/?$rid=1&$version=7",
        ),
        (
            read::<hub::DesiredTopic>,
            "$iothub/twin/PATCH/properties/desired/?$version=7&$version=8",
            "$iothub/twin/PATCH/properties/desired/?$version=7",
        ),
        (
            read::<hub_method::MethodRequestTopic>,
            "$iothub/methods/POST/reboot/?$rid=1&$rid=2",
            "$iothub/methods/POST/reboot/?$rid=1",
        ),
        (
            read::<hub_certificate::RequestTopic>,
            "$iothub/credentials/POST/issueCertificate/?$rid=aaaa&$rid=bbbb",
            "$iothub/credentials/POST/issueCertificate/?$rid=aaaa",
        ),
        (
            read::<hub_certificate::ResponseTopic>,
            "$iothub/credentials/res/202/?$rid=aaaa&$rid=bbbb",
            "$iothub/credentials/res/202/?$rid=aaaa",
        ),
    ];
    for (read, text, expected) in table {
        assert_eq!(read(text), *expected);
    }
}
