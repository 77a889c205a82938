//! Answers over MQTT: their request, their meaning, and the order of packets.

use std::time::Duration;

use dps_device::ErrorKind;

use super::server::publish;
use super::{MQTT_KINDS, ManualClock, MqttKind, Running, set_up};
use crate::script::{ASSIGNED, ASSIGNING};

#[tokio::test]
async fn the_answer_may_come_before_the_acknowledgement() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up(*kind).await;
        let running = Running::start(&client);
        let mut peer = server.session().await;
        let registration = peer.registration().await;
        peer.send(&registration.answer("202", "", ASSIGNING)).await;
        peer.packet().await;
        peer.send(&registration.acknowledgement()).await;

        let poll = peer.poll().await;
        peer.send(&poll.answer("200", "", ASSIGNED)).await;
        assert_eq!(
            running.outcome().await.unwrap().hub().as_str(),
            "hub.azure-devices.net"
        );
    }
}

#[tokio::test]
async fn the_acknowledgement_may_come_first_or_never() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let running = Running::start(&client);
    let mut peer = server.session().await;
    let registration = peer.registration().await;
    peer.answer(&registration, "202", "", ASSIGNING).await;
    let poll = peer.poll().await;
    peer.send(&poll.answer("200", "", ASSIGNED)).await;
    running.outcome().await.unwrap();
}

#[tokio::test]
async fn answers_of_qos_0_are_accepted_and_not_acknowledged() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let running = Running::start(&client);
    let mut peer = server.session().await;
    let registration = peer.registration().await;
    let topic = format!("$dps/registrations/res/202/?$rid={}", registration.rid);
    peer.send(&publish(0x30, &topic, b"", ASSIGNING.as_bytes()))
        .await;
    // The next packet is the next request.
    let poll = peer.poll().await;
    peer.assign(&poll).await;
    running.outcome().await.unwrap();
}

#[tokio::test]
async fn answers_to_other_requests_are_ignored() {
    const FAILED: &str = r#"{"status":"failed"}"#;
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let running = Running::start(&client);
    let mut peer = server.session().await;
    let registration = peer.registration().await;

    let mut not_ours = Vec::new();
    let longer = format!("{}0", registration.rid);
    for rid in ["1", "", &registration.rid.to_uppercase()[..31], &longer] {
        not_ours.push(format!("$dps/registrations/res/200/?$rid={rid}"));
    }
    for topic in [
        "$dps/registrations/res/200/".to_owned(),
        "$dps/registrations/res/200/?retry-after=3".to_owned(),
        format!("$dps/registrations/res/many/?$rid={}", registration.rid),
        format!(
            "$dps/registrations/PUT/iotdps-register/?$rid={}",
            registration.rid
        ),
        format!("$iothub/twin/res/200/?$rid={}", registration.rid),
        "weather".to_owned(),
    ] {
        not_ours.push(topic);
    }
    for (id, topic) in (9..).zip(&not_ours) {
        peer.send(&publish(0x32, topic, &[0, id], FAILED.as_bytes()))
            .await;
        assert_eq!(peer.packet().await, [0x40, 2, 0, id], "{topic}");
    }
    peer.answer(&registration, "202", "", ASSIGNING).await;

    // A second answer to the registration arrives during the poll.
    let poll = peer.poll().await;
    peer.send(&registration.answer("200", "", FAILED)).await;
    peer.packet().await;
    let duplicate = [&[0x3a], &registration.answer("200", "", FAILED)[1..]].concat();
    peer.send(&duplicate).await;
    peer.packet().await;
    peer.assign(&poll).await;
    running.outcome().await.unwrap();
}

#[tokio::test]
async fn a_duplicate_answer_is_used_once() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let running = Running::start(&client);
    let mut peer = server.session().await;
    let registration = peer.registration().await;
    let answer = registration.answer("202", "", ASSIGNING);
    peer.send(&[&answer[..], &answer].concat()).await;
    peer.packet().await;
    let poll = peer.poll().await;
    assert_eq!(peer.packet().await, b"\x40\x02\x00\x07");
    peer.assign(&poll).await;
    running.outcome().await.unwrap();
}

#[tokio::test]
async fn the_status_in_the_topic_decides() {
    for (status, body, kind, retried) in [
        (
            "429",
            r#"{"errorCode":429001,"trackingId":"t-1","message":"slow down"}"#,
            ErrorKind::Throttled,
            true,
        ),
        ("429", "", ErrorKind::Throttled, true),
        // The body reports `assigned`, the topic a failure.
        ("500", ASSIGNED, ErrorKind::Service, true),
        ("503", "<html>", ErrorKind::Service, true),
        ("400", "{}", ErrorKind::Rejected, false),
        ("401", "{}", ErrorKind::Unauthorized, false),
        ("403", "{}", ErrorKind::Unauthorized, false),
        ("404", "{}", ErrorKind::NotFound, false),
        ("302", ASSIGNED, ErrorKind::Protocol, false),
        ("200", "", ErrorKind::Protocol, false),
    ] {
        let (client, server) = set_up(MqttKind::Mqtt).await;
        let running = Running::start(&client);
        let mut peer = server.session().await;
        let request = peer.registration().await;
        // This wait is longer than any timeout.
        peer.answer(&request, status, "&retry-after=900", body)
            .await;
        let error = running.outcome().await.unwrap_err();
        let failure = match retried {
            true => error.last_failure().unwrap(),
            false => &error,
        };
        assert_eq!(failure.kind(), kind, "{status} {error:?}");
        assert_eq!(error.status(), Some(status.parse().unwrap()));
        if retried {
            assert_eq!(error.retry_after(), Some(Duration::from_secs(900)));
        }
    }
}

#[tokio::test]
async fn a_throttled_request_is_sent_again_in_the_same_session() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up(*kind).await;
        let running = Running::start(&client);
        let mut peer = server.session().await;
        for status in ["429", "500", "503"] {
            let request = peer.registration().await;
            peer.answer(&request, status, "&retry-after=0", "{}").await;
        }
        let request = peer.registration().await;
        peer.answer(&request, "202", "&retry-after=0", ASSIGNING)
            .await;
        for status in ["429", "502"] {
            let request = peer.poll().await;
            peer.answer(&request, status, "", "").await;
        }
        let request = peer.poll().await;
        peer.assign(&request).await;
        running.outcome().await.unwrap();
    }
}

#[tokio::test]
async fn a_wait_is_read_in_any_order_and_case() {
    for parameters in [
        "$rid={}&retry-after=600",
        "retry-after=600&$rid={}",
        "$rid={}&Retry-After=600",
        "$rid={}&RETRY-AFTER=600",
        "$RID={}&retry-after=600",
        "$rid={}&new=1&retry-after=600&newer",
        "$rid={}&retry-after=Thu%2C%2001%20Jan%201970%2000%3A10%3A00%20GMT",
        "$rid={}&retry-after=Thu, 01 Jan 1970 00:10:00 GMT",
    ] {
        let (client, server) = set_up(MqttKind::Mqtt).await;
        let client = client.with_clock(ManualClock::to(0));
        let running = Running::start(&client);
        let mut peer = server.session().await;
        let request = peer.registration().await;
        let parameters = parameters.replace("{}", &request.rid);
        let topic = format!("$dps/registrations/res/202/?{parameters}");
        peer.send(&publish(0x30, &topic, b"", ASSIGNING.as_bytes()))
            .await;
        let error = running.outcome().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline, "{parameters}");
        assert_eq!(
            error.retry_after(),
            Some(Duration::from_secs(600)),
            "{parameters}"
        );
    }
}

#[tokio::test]
async fn an_invalid_retry_after_is_ignored() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let running = Running::start(&client);
    let mut peer = server.session().await;
    let mut request = peer.registration().await;
    for more in [
        "&retry-after=soon",
        "&retry-after=-5",
        "&retry-after=",
        "&retry-after",
        "",
    ] {
        peer.answer(&request, "202", more, ASSIGNING).await;
        request = peer.poll().await;
    }
    peer.assign(&request).await;
    running.outcome().await.unwrap();
}

#[tokio::test]
async fn payloads_of_any_script_arrive_whole() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up(*kind).await;
        let running = Running::start(&client);
        let mut peer = server.session().await;
        let request = peer.registration().await;
        let text = "Grüße, 温度計, 🌡".repeat(4096);
        let body = ASSIGNED.replacen('{', &format!(r#"{{"payload":"{text}","#), 2);
        let body = body.replacen(&format!(r#""payload":"{text}","#), "", 1);
        peer.answer(&request, "200", "", &body).await;
        let assignment = running.outcome().await.unwrap();
        assert_eq!(assignment.payload::<String>().unwrap().unwrap(), text);
    }
}

#[tokio::test]
async fn packets_may_arrive_byte_by_byte() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up(*kind).await;
        let running = Running::start(&client);
        let mut peer = server.accept().await;
        peer.packet().await;
        for byte in super::server::CONNACK {
            peer.send(&[*byte]).await;
        }
        peer.packet().await;
        for byte in super::server::SUBACK {
            peer.send(&[*byte]).await;
        }
        let request = peer.registration().await;
        for byte in request.answer("200", "", ASSIGNED) {
            peer.send(&[byte]).await;
        }
        running.outcome().await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up(*kind).await;
        let running = Running::start(&client);
        let mut peer = server.session().await;
        let request = peer.registration().await;
        let body = ASSIGNED.replacen('{', &format!("{{{}", " ".repeat(300 * 1024)), 1);
        peer.send(&request.answer("200", "", &body)[..100]).await;
        assert_eq!(
            running.outcome().await.unwrap_err().kind(),
            ErrorKind::Protocol
        );
        peer.closed().await;
    }
}

#[tokio::test]
async fn a_peer_that_does_not_speak_mqtt_ends_the_registration() {
    for bytes in [
        // A SUBACK, a CONNACK, a CONNECT, a packet of type 0, a PUBLISH of QoS 2, of QoS 3, and HTTP.
        b"\x90\x03\x00\x01\x01".as_slice(),
        b"\x20\x02\x00\x00",
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00",
        b"\x00\x00",
        b"\x34\x05\x00\x01t\x00\x01",
        b"\x36\x05\x00\x01t\x00\x01",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        let (client, server) = set_up(MqttKind::Mqtt).await;
        let running = Running::start(&client);
        let mut peer = server.session().await;
        peer.registration().await;
        peer.send(bytes).await;
        let error = running.outcome().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{bytes:x?}");
        peer.closed().await;
    }
}
