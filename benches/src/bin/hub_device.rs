//! Devices at a hub as a separate process. It prints `messages-a-second CPU-microseconds-a-message heap-bytes-a-connection`.
//!
//! usage: `hub_device CLIENT PORT HUB KEY CA_FILE CONNECTIONS MESSAGES`
//!
//! CLIENT is `dps-device` or `rumqttc`. The first device sends the messages with QoS 1, 32 of them in flight; then all devices are
//! connected and idle while the heap is measured, and until stdin ends. The devices are `bench-0`, `bench-1` and so on.

use std::alloc::System;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use dps_benches::cpu_time;
use dps_device::{
    ConnectOptions, DeviceState, Http, HubEndpoint, Message, Mqtt, ProvisioningClient, Roots,
    SymmetricKey, SymmetricKeyAttestation,
};
use futures_util::future::{join_all, try_join_all};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, PublishOptions, QoS, TlsConfiguration,
    Transport,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const WINDOW: u16 = 32;
const PAYLOAD: &[u8] = br#"{"temperature":21.5,"humidity":40,"device":"bench","sequence":123456}"#;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [client, port, hub, key, ca_file, connections, messages] = &arguments[..] else {
        return Err("usage: CLIENT PORT HUB KEY CA_FILE CONNECTIONS MESSAGES".into());
    };
    let roots = Roots::from_pem_file(ca_file)?;
    let key = SymmetricKey::from_base64(key)?;
    let (connections, messages): (usize, usize) = (connections.parse()?, messages.parse()?);
    let mut hubs = Vec::new();
    for number in 0..connections {
        let id = format!("bench-{number}");
        let who = SymmetricKeyAttestation::from_group(id.parse()?, &key);
        // It is never asked: the devices are registered.
        let client = ProvisioningClient::new("0ne00000000".parse()?, who, Http::default());
        let endpoint = client
            .hub_at(hub.parse()?, id.parse()?)
            .with_host(dps_device::Host::LOCALHOST)
            .with_roots(roots.clone())
            .with_transport(Mqtt::default().with_port(port.parse()?));
        hubs.push(endpoint);
    }
    match client.as_str() {
        "dps-device" => ours(&hubs, messages).await,
        "rumqttc" => theirs(&hubs, messages).await,
        _ => Err("expected dps-device or rumqttc".into()),
    }
}

/// Prints the figures, and keeps the connections until stdin ends.
fn report((a_second, cpu): (f64, f64), heap: f64) -> Result<()> {
    println!("{a_second} {cpu} {heap}");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

async fn ours(hubs: &[HubEndpoint], messages: usize) -> Result<()> {
    let options = || {
        ConnectOptions::new()
            .with_max_in_flight(WINDOW)
            .without_twin_events()
            .without_messages()
            .without_methods()
    };
    let (handle, mut events) = hubs[0].connect_with(options());
    let sending = async {
        handle.wait_for(DeviceState::Connected).await?;
        let start = (Instant::now(), cpu_time());
        let senders = (0..WINDOW).map(async |_| {
            for _ in 0..messages / usize::from(WINDOW) {
                handle.send(Message::new(PAYLOAD)).await?;
            }
            Ok::<_, dps_device::Error>(())
        });
        try_join_all(senders).await?;
        Ok::<_, dps_device::Error>(rates(start, messages))
    };
    let rates = events.drive(sending).await?;
    drop((handle, events));

    let before = heap();
    let mut devices: Vec<_> = hubs.iter().map(|hub| hub.connect_with(options())).collect();
    let connecting = devices.iter_mut().map(async |(handle, events)| {
        let connected = handle.wait_for(DeviceState::Connected);
        events.drive(connected).await
    });
    for connected in join_all(connecting).await {
        connected?;
    }
    report(rates, (heap() - before) / hubs.len() as f64)
}

async fn theirs(hubs: &[HubEndpoint], messages: usize) -> Result<()> {
    let (client, mut events) = rumqttc_client(&hubs[0]).await?;
    connected(&mut events).await?;
    let topic = hubs[0].events_topic(Default::default());
    let driving = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    let start = (Instant::now(), cpu_time());
    let senders = (0..WINDOW).map(async |_| {
        for _ in 0..messages / usize::from(WINDOW) {
            let options = PublishOptions::new(QoS::AtLeastOnce);
            let sent = client.publish_tracked(topic.clone(), PAYLOAD, options);
            sent.await?.wait_async().await?;
        }
        Ok::<_, Box<dyn Error>>(())
    });
    try_join_all(senders).await?;
    let rates = rates(start, messages);
    client.disconnect().await?;
    driving.await?;

    let before = heap();
    let mut clients = Vec::new();
    for hub in hubs {
        let (client, mut events) = rumqttc_client(hub).await?;
        client
            .subscribe("$iothub/twin/res/#", QoS::AtLeastOnce)
            .await?;
        connected(&mut events).await?;
        while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
        clients.push((client, events));
    }
    report(rates, (heap() - before) / hubs.len() as f64)
}

async fn rumqttc_client(hub: &HubEndpoint) -> Result<(AsyncClient, EventLoop)> {
    let mut options = MqttOptions::new(hub.client_id(), (hub.host(), hub.port()));
    let password = hub.password().await?.ok_or("a key has a password")?;
    options.set_credentials(hub.username(), password.reveal().to_owned());
    let tls = TlsConfiguration::Rustls(Arc::new(hub.tls_config()?));
    options.set_transport(Transport::Tls(tls));
    options
        .set_keep_alive(180)
        .set_clean_session(true)
        .set_inflight(WINDOW);
    Ok(AsyncClient::builder(options)
        .capacity(usize::from(WINDOW))
        .build())
}

async fn connected(events: &mut EventLoop) -> Result<()> {
    while !matches!(events.poll().await?, Event::Incoming(Packet::ConnAck(_))) {}
    Ok(())
}

fn rates(start: (Instant, std::time::Duration), messages: usize) -> (f64, f64) {
    let (took, cpu) = (start.0.elapsed(), cpu_time() - start.1);
    let messages = messages as f64;
    (
        messages / took.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / messages,
    )
}

/// The bytes that are allocated now.
fn heap() -> f64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}
