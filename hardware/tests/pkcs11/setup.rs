//! The set-up of a test: its process, its token and the emulator.

use std::any::type_name;
use std::time::Duration;

use dps_device::pkcs11::{Pin, Token, Uri};
use dps_device::{Attestation, Http, Mqtt, MqttWebSocket, ProvisioningClient, Roots, Transport};
use dps_emulator::{Emulator, LinkedHub};
use dps_hardware::{Provider, SoftHsm, provider};
use dps_service::ServiceClient;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use tokio::runtime;

/// The label of the token in each test.
pub(crate) const TOKEN: &str = "device";
pub(crate) const HUB: &str = "toasters.azure-devices.net";

/// The environment variable that selects the module for the tests that do not need SoftHSM: see `modules`.
pub(crate) const MODULE: &str = "DPS_PKCS11_MODULE";

/// The name of the module that the tests use.
pub(crate) fn module() -> String {
    std::env::var(MODULE).unwrap_or_else(|_| "softhsm".to_owned())
}

/// Reports that this test, or the rest of it, does not run with this module.
pub(crate) fn skipped(reason: &str) {
    println!("{} {}: {reason}", SoftHsm::SKIPPED, module());
}

/// Returns true, and reports it, if the module is not SoftHSM and the test prepares the token in a way that only SoftHSM allows.
pub(crate) fn skipped_without_softhsm() -> bool {
    let is_skipped = module() != "softhsm";
    if is_skipped {
        skipped("it prepares the token as SoftHSM allows it");
    }
    is_skipped
}

/// Runs the test in its own process with one token.
pub(crate) fn alone<T: FnOnce() -> F, F: Future<Output = ()>>(test: T) {
    run(
        type_name::<T>(),
        || provider(&module(), TOKEN),
        || {
            crate::sessions::initialize_token();
            test()
        },
    );
}

/// Runs the test in its own process, unless the module does not sign with secret keys, which it must refuse then.
pub(crate) fn alone_with_secret_keys<T: FnOnce() -> F, F: Future<Output = ()>>(test: T) {
    run(
        type_name::<T>(),
        || provider(&module(), TOKEN),
        || async {
            crate::sessions::initialize_token();
            let can_sign = crate::capabilities::signs_with_secret_keys(&token().await).await;
            match can_sign {
                true => test().await,
                false => skipped("the module does not sign with secret keys"),
            }
        },
    );
}

/// Runs the test in its own process with this module, which is SoftHSM with a special set-up.
pub(crate) fn with<P: Provider, T: FnOnce() -> F, F: Future<Output = ()>>(
    set_up: impl FnOnce() -> P,
    test: T,
) {
    match module().as_str() {
        "softhsm" => run(type_name::<T>(), set_up, test),
        _ => skipped("it requires SoftHSM with a special set-up"),
    }
}

fn run<P: Provider, T: FnOnce() -> F, F: Future<Output = ()>>(
    name: &str,
    set_up: impl FnOnce() -> P,
    test: T,
) {
    SoftHsm::run(name, set_up, || {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let timeout = Duration::from_secs(120);
        runtime
            .block_on(async { tokio::time::timeout(timeout, test()).await })
            .expect("the test ends in time");
    });
}

/// The URI of an object in the token.
pub(crate) fn object(label: &str) -> Uri {
    uri(&format!("pkcs11:token={TOKEN}")).with_object(label)
}

/// The URI with the module added.
pub(crate) fn uri(text: &str) -> Uri {
    let uri: Uri = text.parse().unwrap();
    uri.with_module_path(SoftHsm::module_in_use())
}

pub(crate) fn pin() -> Pin {
    Pin::new(SoftHsm::PIN)
}

/// The open token.
pub(crate) async fn token() -> Token {
    Token::open_with_pin(&uri(&format!("pkcs11:token={TOKEN}")), pin())
        .await
        .unwrap()
}

/// The emulator and a service client for it.
pub(crate) struct Dps {
    emulator: Emulator,
    service: ServiceClient,
    roots: Roots,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum TransportKind {
    Http,
    Mqtt,
    WebSocket,
}

pub(crate) const TRANSPORTS: [TransportKind; 3] = [
    TransportKind::Http,
    TransportKind::Mqtt,
    TransportKind::WebSocket,
];

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
        transport: TransportKind,
    ) -> ProvisioningClient {
        match transport {
            TransportKind::Http => self.over(
                device,
                Http::default().with_port(self.emulator.https_port()),
            ),
            TransportKind::Mqtt => {
                self.over(device, Mqtt::default().with_port(self.emulator.mqtt_port()))
            }
            TransportKind::WebSocket => {
                let port = self.emulator.https_port();
                self.over(device, MqttWebSocket::default().with_port(port))
            }
        }
    }

    /// Registers the device, and checks its assignment.
    pub(crate) async fn register(
        &self,
        device: impl Attestation + 'static,
        transport: TransportKind,
    ) {
        let registration_id = device.registration_id().to_string();
        let assignment = self.client(device, transport).register().await.unwrap();
        assert_eq!(assignment.hub().as_str(), HUB, "{transport:?}");
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
