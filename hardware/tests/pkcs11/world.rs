//! A token, an instance of the service, and a process for each test.

use std::any::type_name;
use std::time::Duration;

use dps_device::pkcs11::{Pin, Token, Uri};
use dps_device::{Attestation, Http, Mqtt, MqttWebSocket, ProvisioningClient, Roots, Transport};
use dps_emulator::{Emulator, LinkedHub};
use dps_hardware::SoftHsm;
use dps_service::ServiceClient;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use tokio::runtime;

/// The token that every test has.
pub(crate) const TOKEN: &str = "device";
pub(crate) const HUB: &str = "toasters.azure-devices.net";

/// Runs the test in a process of its own with one token.
pub(crate) fn alone<T: FnOnce() -> F, F: Future<Output = ()>>(test: T) {
    with(|| SoftHsm::new().with_token(TOKEN), test);
}

/// Runs the test in a process of its own with this SoftHSM.
pub(crate) fn with<T: FnOnce() -> F, F: Future<Output = ()>>(
    set_up: impl FnOnce() -> SoftHsm,
    test: T,
) {
    SoftHsm::run(type_name::<T>(), set_up, || {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let patience = Duration::from_secs(120);
        runtime
            .block_on(async { tokio::time::timeout(patience, test()).await })
            .expect("the test comes to an end");
    });
}

/// The URI of an object in the token.
pub(crate) fn object(label: &str) -> Uri {
    uri(&format!("pkcs11:token={TOKEN}")).with_object(label)
}

/// The URI with the module added.
pub(crate) fn uri(text: &str) -> Uri {
    let uri: Uri = text.parse().unwrap();
    uri.with_module_path(SoftHsm::module())
}

pub(crate) fn pin() -> Pin {
    Pin::new(SoftHsm::PIN)
}

/// The token, open.
pub(crate) async fn token() -> Token {
    Token::open_with_pin(&uri(&format!("pkcs11:token={TOKEN}")), pin())
        .await
        .unwrap()
}

/// An instance of the service.
pub(crate) struct Dps {
    emulator: Emulator,
    service: ServiceClient,
    roots: Roots,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Carrier {
    Http,
    Mqtt,
    WebSocket,
}

pub(crate) const CARRIERS: [Carrier; 3] = [Carrier::Http, Carrier::Mqtt, Carrier::WebSocket];

impl Dps {
    pub(crate) async fn start() -> Self {
        let builder = Emulator::builder().link_hub(HUB.parse::<LinkedHub>().unwrap());
        let emulator = builder.retry_after(Duration::ZERO).start().await.unwrap();
        let roots = Roots::from_pem(emulator.ca_pem()).unwrap();
        let connection = emulator.service_connection_string();
        let service = ServiceClient::from_connection_string(&connection)
            .unwrap()
            .with_roots(roots.clone());
        Self {
            emulator,
            service,
            roots,
        }
    }

    pub(crate) async fn enroll(&self, device: &IndividualEnrollment) {
        let enrollments = self.service.individual_enrollments();
        enrollments.create(device).await.unwrap();
    }

    pub(crate) async fn enroll_group(&self, group: &EnrollmentGroup) {
        let groups = self.service.enrollment_groups();
        groups.create(group).await.unwrap();
    }

    pub(crate) fn client(
        &self,
        device: impl Attestation + 'static,
        carrier: Carrier,
    ) -> ProvisioningClient {
        match carrier {
            Carrier::Http => self.over(
                device,
                Http::default().with_port(self.emulator.https_port()),
            ),
            Carrier::Mqtt => {
                self.over(device, Mqtt::default().with_port(self.emulator.mqtt_port()))
            }
            Carrier::WebSocket => {
                let port = self.emulator.https_port();
                self.over(device, MqttWebSocket::default().with_port(port))
            }
        }
    }

    /// The device registers, and is at home.
    pub(crate) async fn assigns(&self, device: impl Attestation + 'static, carrier: Carrier) {
        let registration_id = device.registration_id().to_string();
        let assignment = self.client(device, carrier).register().await.unwrap();
        assert_eq!(assignment.hub().as_str(), HUB, "{carrier:?}");
        assert_eq!(assignment.device_id().as_str(), registration_id);
    }

    fn over(
        &self,
        device: impl Attestation + 'static,
        transport: impl Transport + 'static,
    ) -> ProvisioningClient {
        ProvisioningClient::new(self.emulator.id_scope().clone(), device, transport)
            .with_host(std::net::Ipv4Addr::LOCALHOST)
            .with_roots(self.roots.clone())
            .with_min_poll_interval(Duration::from_millis(10))
    }
}
