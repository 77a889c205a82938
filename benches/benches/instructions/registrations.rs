//! One registration over each transport with each kind of attestation, and messages to a hub.

use std::net::Ipv4Addr;
use std::time::Duration;

use dps_benches::{Service, TransportKind};
use dps_device::attestation::TpmKeys;
use dps_device::{
    Attestation, ConnectOptions, DeviceState, HubEndpoint, Message, Mqtt, X509Attestation,
};
use dps_service::ServiceClient;
use dps_types::enrollment::{AttestationMechanism, IndividualEnrollment};
use tokio::runtime::Runtime;

use crate::meter::{Meter, Side, Thread};
use crate::remote_tpm::RemoteTpm;
use crate::server::{Server, runtime};

const PAYLOAD: &[u8] = br#"{"temperature":21.5,"humidity":40,"device":"bench","sequence":123456}"#;
/// The messages in one count.
const MESSAGES: u32 = 16;
/// Long enough for the assignment, so that the device polls once.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// At least as many as a meter takes samples.
const CERTIFICATES: usize = 6;

pub(crate) fn measure(meter: &Meter, tpm: &RemoteTpm) {
    if !meter.selects("registration") && !meter.selects("hub_message") {
        return;
    }
    let tpm_enrollment = IndividualEnrollment::new(
        tpm.registration_id().clone(),
        AttestationMechanism::tpm(TpmKeys::endorsement_key(tpm).to_base64()),
    );
    let (server, service) = Server::start(|| async move {
        let service = Service::start().await.unwrap();
        let emulator = service.emulator();
        let operator = ServiceClient::from_connection_string(&emulator.service_connection_string());
        let operator = operator.unwrap().with_roots(service.roots().clone());
        let enrollments = operator.individual_enrollments();
        enrollments.create(&tpm_enrollment).await.unwrap();
        service
    });
    let devices = Devices {
        meter,
        runtime: runtime(),
        server,
        service,
    };
    let certificates: Vec<X509Attestation> = (0..CERTIFICATES)
        .map(|n| {
            devices
                .service
                .with_certificate(&format!("heatpump-{n}"))
                .unwrap()
        })
        .collect();
    for transport in TransportKind::ALL {
        devices.register(transport, "symmetric_key", |n| {
            devices
                .service
                .with_key(&format!("toaster-{}-{n}", transport.name()))
                .unwrap()
        });
        devices.register(transport, "x509", |n| certificates[n].clone());
        // MQTT has no TPM attestation.
        if !matches!(transport, TransportKind::Mqtt | TransportKind::WebSocket) {
            devices.register(transport, "tpm", |_| tpm.clone());
        }
    }
    if meter.selects("hub_message") {
        devices.send_messages();
    }
}

struct Devices<'a> {
    meter: &'a Meter,
    runtime: Runtime,
    server: Server,
    service: Service,
}

impl Devices<'_> {
    fn sides(&self) -> [Side<'_>; 3] {
        let emulator = self.server.handle();
        [
            Side("/device", Thread::Main),
            Side("/emulator", Thread::Of(emulator)),
            Side("/emulator", Thread::BlockingOf(emulator)),
        ]
    }

    fn register<A: Attestation + 'static>(
        &self,
        transport: TransportKind,
        kind: &str,
        who: impl Fn(usize) -> A,
    ) {
        let name = format!("registration/{}/{kind}", transport.name());
        self.meter.sample(&name, &self.sides(), 1, |n| {
            let register = async || {
                let client = self.service.client(transport, who(n));
                // An address, because the resolver of the C library depends on the machine.
                let client = client
                    .with_host(Ipv4Addr::LOCALHOST)
                    .with_min_poll_interval(POLL_INTERVAL);
                client.register().await.unwrap();
            };
            self.runtime.block_on(register());
            // The end of the connection.
            while self.runtime.metrics().num_alive_tasks() > 0 {
                self.runtime.block_on(tokio::task::yield_now());
            }
            self.server.settle();
        });
    }

    fn send_messages(&self) {
        let client = self.service.client(
            TransportKind::Mqtt,
            self.service.with_key("toaster-mqtt-0").unwrap(),
        );
        let device = "toaster-mqtt-0".parse().unwrap();
        let endpoint: HubEndpoint = client
            .hub_at("contoso-hub".parse().unwrap(), device)
            .with_host(dps_device::Host::LOCALHOST)
            .with_roots(self.service.roots().clone())
            .with_transport(Mqtt::default().with_port(self.service.port(TransportKind::Mqtt)));
        let register = async || client.register().await.unwrap();
        self.runtime.block_on(register());
        let options = ConnectOptions::new()
            .without_twin_events()
            .without_messages()
            .without_methods();
        let (handle, mut events) = endpoint.connect_with(options);
        let connected = events.drive(handle.wait_for(DeviceState::Connected));
        self.runtime.block_on(connected).unwrap();
        self.meter
            .sample("hub_message", &self.sides(), MESSAGES, |_| {
                let sending = async {
                    for _ in 0..MESSAGES {
                        handle.send(Message::new(PAYLOAD)).await.unwrap();
                    }
                };
                self.runtime.block_on(events.drive(sending));
                self.server.wait_for_idle();
            });
    }
}
