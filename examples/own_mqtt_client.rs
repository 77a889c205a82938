//! A device with its own MQTT client, here rumqttc: this crate registers it and supplies what the client needs.
//! Offline: `cargo run --example own_mqtt_client`
//!
//! A hub keeps one connection for each device, and closes it when its password expires. So the program connects again with a new
//! password before that, and disconnects first.
use std::time::{Duration, SystemTime};

use dps_device::{Host, Http, HubEndpoint, Mqtt, ProvisioningClient, Roots, SymmetricKeyAttestation};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::protocol::hub_message::{PropertyBag, property};
use dps_types::{SymmetricKey, enrollment::EnrollmentGroup};
use rumqttc::{AsyncClient, EventLoop, MqttOptions, PublishOptions, QoS, TlsConfiguration, Transport};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// A client for the hub, and the time of the next renewal. These ten lines are the same for every MQTT client.
async fn client(hub: &HubEndpoint) -> Result<(AsyncClient, EventLoop, Option<SystemTime>)> {
    let mut options = MqttOptions::new(hub.client_id(), (hub.host(), hub.port()));
    let password = hub.password().await?;
    let secret = password.as_ref().map_or("", |password| password.reveal()).to_owned();
    options.set_credentials(hub.username(), secret);
    options.set_transport(Transport::Tls(TlsConfiguration::Rustls(hub.tls_config()?.into())));
    options.set_keep_alive(180).set_clean_session(true);
    let (client, events) = AsyncClient::builder(options).capacity(10).build();
    // A certificate has no password, and lasts until it expires itself.
    let renewal = password.map(|password| password.expires_at() - Duration::from_secs(5));
    Ok((client, events, renewal))
}

/// Sends messages until there are enough, over as many connections as the passwords allow.
async fn run(hub: &HubEndpoint) -> Result<()> {
    let mut properties = PropertyBag::new();
    properties.insert(property::CONTENT_TYPE, "application/json");
    properties.insert(property::CONTENT_ENCODING, "utf-8");
    let topic = hub.events_topic(properties);
    for connection in 1..=2 {
        let (client, mut events, renewal) = client(hub).await?;
        let driving = tokio::spawn(async move { while events.poll().await.is_ok() {} });
        client.subscribe(hub.message_filter(), QoS::AtLeastOnce).await?;
        let options = PublishOptions::new(QoS::AtLeastOnce);
        let sent = client.publish_tracked(topic.clone(), r#"{"temperature":21.5}"#, options).await?;
        sent.wait_async().await?;
        println!("connection {connection}: the hub has acknowledged a message");
        // A program waits until the renewal here. This example has no time for that.
        assert!(renewal.is_none_or(|renewal| renewal > SystemTime::now()));
        client.disconnect().await?;
        driving.await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let dps = Emulator::builder().link_hub("contoso-toasters".parse::<LinkedHub>()?).start().await?;
    let key = SymmetricKey::generate();
    let group = EnrollmentGroup::from_keys("toasters".parse()?, &key, &SymmetricKey::generate());
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?;
    service.with_roots(Roots::from_pem(dps.ca_pem())?).enrollment_groups().create(&group).await?;

    let who = SymmetricKeyAttestation::from_group("toaster-1".parse()?, &key);
    let client = ProvisioningClient::new(dps.id_scope().clone(), who, Http::default().with_port(dps.https_port()))
        .with_host(Host::LOCALHOST)
        .with_roots(Roots::from_pem(dps.ca_pem())?);
    let assignment = client.register().await?;
    let mqtt = Mqtt::default().with_port(dps.mqtt_port());
    run(&client.hub(&assignment).with_host(Host::LOCALHOST).with_transport(mqtt)).await?;

    let hub = dps.hub("contoso-toasters").ok_or("it is linked")?;
    println!("the hub has received {} messages", hub.telemetry_count("toaster-1"));
    dps.shutdown().await;
    Ok(())
}
