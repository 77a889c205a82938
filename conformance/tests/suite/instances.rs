//! A device of each transport reaches its instance by the id scope.

use std::net::Ipv4Addr;
use std::time::Duration;

use dps_device::{
    Amqp, AmqpWebSocket, Attestation, Http, Mqtt, MqttWebSocket, ProvisioningClient, Roots,
    SymmetricKey, SymmetricKeyAttestation, Transport, X509Attestation,
};
use dps_emulator::{DeviceCredentials, Emulator, InstanceHandle, InstanceOptions, LinkedHub};
use dps_service::ServiceClient;
use dps_types::IdScope;
use dps_types::enrollment::IndividualEnrollment;

/// The instance's hub is `{name}.azure-devices.net`.
async fn create(dps: &Emulator, name: &str) -> InstanceHandle {
    let hub = format!("{name}.azure-devices.net");
    let hub: LinkedHub = hub.parse().expect("a hub");
    let options = InstanceOptions::new(name.parse().expect("a name")).link_hub(hub);
    dps.create_instance(options).await.expect("created")
}

async fn enroll(dps: &Emulator, connection: &str, enrollment: IndividualEnrollment) {
    let service = ServiceClient::from_connection_string(connection)
        .expect("a connection string")
        .with_roots(Roots::from_pem(dps.ca_pem()).expect("the root"));
    let created = service.individual_enrollments().create(&enrollment).await;
    created.expect("enrolled");
}

/// The hub that a device is assigned to.
async fn assigned(
    dps: &Emulator,
    id_scope: &IdScope,
    device: impl Attestation + 'static,
    transport: impl Transport + 'static,
) -> String {
    let client = ProvisioningClient::new(id_scope.clone(), device, transport)
        .with_host(Ipv4Addr::LOCALHOST)
        .with_roots(Roots::from_pem(dps.ca_pem()).expect("the root"))
        .with_min_poll_interval(Duration::from_millis(10));
    let assignment = client.register().await.expect("assigned");
    assignment.hub().to_string()
}

#[tokio::test]
async fn every_transport_reaches_the_instance_of_its_id_scope() {
    let dps = Emulator::builder().retry_after(Duration::ZERO);
    let dps = dps.start().await.expect("the emulator starts");
    let (one, two) = (create(&dps, "suite-1").await, create(&dps, "suite-2").await);
    let id = || "dev-1".parse().expect("an id");
    let certificate = DeviceCredentials::self_signed("dev-2").expect("a certificate");
    for instance in [&one, &two] {
        let key = SymmetricKey::generate();
        let (chain, private) = (
            certificate.certificate_chain_pem(),
            certificate.private_key_pem(),
        );
        let connection = instance.service_connection_string();
        let of_key = IndividualEnrollment::from_keys(id(), &key, &SymmetricKey::generate());
        enroll(&dps, &connection, of_key).await;
        let of_certificate = IndividualEnrollment::client_certificate(
            "dev-2".parse().expect("an id"),
            certificate.certificate_pem(),
        );
        enroll(&dps, &connection, of_certificate).await;
        let hub = instance.hub_names()[0].to_string();
        macro_rules! check {
            ($($transport:expr;)+) => {$(
                let by_key = SymmetricKeyAttestation::new(id(), key.clone());
                let by_key = assigned(&dps, instance.id_scope(), by_key, $transport).await;
                assert_eq!(by_key, hub, stringify!($transport));
                let x509 = X509Attestation::from_pem(&chain, private).expect("credentials");
                let by_certificate = assigned(&dps, instance.id_scope(), x509, $transport).await;
                assert_eq!(by_certificate, hub, stringify!($transport));
            )+};
        }
        check! {
            Http::default().with_port(dps.https_port());
            Mqtt::default().with_port(dps.mqtt_port());
            MqttWebSocket::default().with_port(dps.https_port());
            Amqp::default().with_port(dps.amqp_port());
            AmqpWebSocket::default().with_port(dps.https_port());
        }
    }
    dps.shutdown().await;
}
