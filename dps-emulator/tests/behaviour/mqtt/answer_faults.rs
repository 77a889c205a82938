//! Faults of MQTT answers: an answer that comes twice, and one with the `$rid` of another request.

use std::time::Duration;

use dps_device::{Mqtt, ProvisioningClient, SymmetricKeyAttestation};
use dps_emulator::fault::{Effect, Fault, Step};
use dps_tls::Roots;

use crate::common::{Dps, KEY_1, PINGREQ, PINGRESP, REGISTER, STATUS};

fn client(dps: &Dps) -> ProvisioningClient {
    let key = dps_types::SymmetricKey::from_base64(KEY_1).expect("a key");
    let attestation = SymmetricKeyAttestation::new("dev-1".parse().expect("an id"), key);
    let transport = Mqtt::default().with_port(dps.emulator.mqtt_port());
    ProvisioningClient::new(dps.emulator.id_scope().clone(), attestation, transport)
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(Roots::from_pem(dps.emulator.ca_pem()).expect("the CA"))
        .with_min_poll_interval(Duration::ZERO)
}

#[tokio::test]
async fn an_answer_that_is_sent_twice() {
    let dps = Dps::with_device().await;
    let mut device = dps.mqtt_device("dev-1").await;
    dps.emulator
        .faults()
        .next(Fault::new(Step::Register, Effect::AnswerTwice));
    let first = device.ask(&format!("{REGISTER}a"), b"{}").await;
    let second = device.response().await;
    assert_eq!(
        first.topic,
        "$dps/registrations/res/202/?$rid=a&retry-after=0"
    );
    assert_eq!((&second.topic, &second.body), (&first.topic, &first.body));
    assert_ne!(second.packet_id, first.packet_id, "it is not a repetition");
    // There is no further answer, and the fault has ended.
    device.send(PINGREQ).await;
    device.expect(PINGRESP).await;
    let operation = first.json()["operationId"].clone();
    device.finish(operation.as_str().expect("an id")).await;
}

#[tokio::test]
async fn an_answer_with_the_id_of_another_request() {
    let dps = Dps::with_device().await;
    let mut device = dps.mqtt_device("dev-1").await;
    let operation = device.register(b"{}").await;
    device.finish(&operation).await;
    dps.emulator
        .faults()
        .next(Fault::new(Step::Poll, Effect::WrongRequestId));
    let topic = format!("{STATUS}a&operationId={operation}");
    let wrong = device.ask(&topic, b" ").await;
    assert_eq!(wrong.topic, "$dps/registrations/res/200/?$rid=a0");
    let right = device.ask(&topic, b" ").await;
    assert_eq!(right.topic, "$dps/registrations/res/200/?$rid=a");
    assert_eq!(right.body, wrong.body);
}

#[tokio::test]
async fn a_client_ignores_the_second_answer() {
    let dps = Dps::with_device().await;
    for step in [Step::Register, Step::Poll] {
        dps.emulator
            .faults()
            .next(Fault::new(step, Effect::AnswerTwice).times(2));
    }
    let assignment = client(&dps).register().await.expect("assigned");
    assert_eq!(assignment.device_id().as_str(), "dev-1");
    // The faults have happened, one at least at each step.
    assert!(dps.emulator.faults().pending() <= 2);
}

#[tokio::test]
async fn a_client_does_not_use_the_answer_to_another_request() {
    let dps = Dps::start_with(|builder| builder.keep_exchanges(100)).await;
    dps.enroll("dev-1").await;
    dps.emulator
        .faults()
        .next(Fault::new(Step::Register, Effect::WrongRequestId));
    let client = client(&dps).with_request_timeout(Duration::from_secs(1));
    client.register().await.expect("assigned");
    let exchanges = dps.emulator.exchanges();
    let registered = exchanges.iter().filter(|it| it.request == "register");
    assert!(registered.count() >= 2, "it registered again");
}
