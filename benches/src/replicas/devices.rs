//! The devices: each is enrolled and registers once, over one of the transports.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dps_device::{Roots, SymmetricKeyAttestation};
use dps_service::{ErrorKind, ServiceClient};
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::{IdScope, RegistrationId, SymmetricKey};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout};

use super::replica::Ports;
use crate::TransportKind;

/// The longest time that an operator tries to write an enrollment, and that a device may take.
const DEADLINE: Duration = Duration::from_secs(5 * 60);
/// The pause before an operator writes again.
const PAUSE: Duration = Duration::from_millis(200);

/// The devices and the operator, at the load balancer.
#[derive(Debug)]
pub(super) struct Fleet {
    ports: Ports,
    roots: Roots,
    id_scope: IdScope,
    operator: ServiceClient,
    group_key: SymmetricKey,
    done: Arc<AtomicUsize>,
}

/// A device that has registered.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) id: RegistrationId,
    /// Whether it has an individual enrollment, which was acknowledged.
    pub(super) is_individual: bool,
    /// The hub, or the error.
    pub(super) outcome: Result<String, String>,
    pub(super) took: Duration,
}

impl Fleet {
    pub(super) fn new(
        ports: Ports,
        connection: &str,
        ca_pem: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let roots = Roots::from_pem(ca_pem)?;
        // The policy and its key are the same at all replicas; the address is that of the load balancer.
        let (_, policy) = connection
            .split_once(';')
            .ok_or("a connection string has parts")?;
        let connection = format!("HostName=localhost:{};{policy}", ports.https);
        let operator =
            ServiceClient::from_connection_string(&connection)?.with_roots(roots.clone());
        Ok(Self {
            ports,
            roots,
            id_scope: "0ne00000001".parse()?,
            operator,
            group_key: SymmetricKey::generate(),
            done: Arc::default(),
        })
    }

    /// Creates the enrollment group of every second device.
    pub(super) async fn prepare(&self) -> Result<(), Box<dyn Error>> {
        let group = EnrollmentGroup::from_keys(
            "fleet".parse()?,
            &self.group_key,
            &SymmetricKey::generate(),
        );
        let groups = self.operator.enrollment_groups();
        // The load balancer may count a replica as dead that the machine has delayed.
        let written = until_written(async || created(groups.create(&group).await)).await;
        Ok(written?)
    }

    /// The number of devices that are done.
    pub(super) fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Registers all devices, a number of them at the same time.
    pub(super) async fn register(&self, devices: usize, concurrency: usize) -> Vec<Device> {
        stream::iter(0..devices)
            .map(|number| self.register_one(number))
            .buffer_unordered(concurrency)
            .collect()
            .await
    }

    async fn register_one(&self, number: usize) -> Device {
        let id: RegistrationId = format!("device-{number}").parse().expect("a valid id");
        let transport = TransportKind::ALL[number % TransportKind::ALL.len()];
        let is_individual = number.is_multiple_of(2);
        let mut took = Duration::ZERO;
        let registered = async {
            let attestation = match is_individual {
                true => SymmetricKeyAttestation::new(id.clone(), self.enroll(&id).await?),
                false => SymmetricKeyAttestation::from_group(id.clone(), &self.group_key),
            };
            let start = Instant::now();
            let client = transport
                .client(self.port(transport), self.id_scope.clone(), attestation)
                .with_roots(self.roots.clone());
            let provisioned = timeout(DEADLINE, client.register()).await;
            took = start.elapsed();
            match provisioned {
                Ok(Ok(assignment)) => Ok(assignment.hub().to_string()),
                Ok(Err(error)) => Err(format!("{id} over {}: {error:#}", transport.name())),
                Err(_) => Err(format!("{id} over {}: past its deadline", transport.name())),
            }
        };
        let outcome = registered.await;
        self.done.fetch_add(1, Ordering::SeqCst);
        Device {
            id,
            is_individual,
            outcome,
            took,
        }
    }

    /// Creates an enrollment, and tries again while replicas or the database are not available. Returns its key.
    async fn enroll(&self, id: &RegistrationId) -> Result<SymmetricKey, String> {
        let key = SymmetricKey::generate();
        let enrollment =
            IndividualEnrollment::from_keys(id.clone(), &key, &SymmetricKey::generate());
        let enrollments = self.operator.individual_enrollments();
        until_written(async || created(enrollments.create(&enrollment).await))
            .await
            .map_err(|error| format!("{id} was not enrolled: {error}"))?;
        Ok(key)
    }

    fn port(&self, transport: TransportKind) -> u16 {
        match transport {
            TransportKind::Http | TransportKind::WebSocket | TransportKind::AmqpWebSocket => {
                self.ports.https
            }
            TransportKind::Amqp => self.ports.amqp,
            TransportKind::Mqtt => self.ports.mqtt,
        }
    }
}

/// Whether an enrollment was created. An attempt whose answer was lost may have created it.
fn created<E>(result: Result<E, dps_service::Error>) -> Result<(), String> {
    match result {
        Err(error) if error.kind() != ErrorKind::Conflict => Err(error.to_string()),
        _ => Ok(()),
    }
}

async fn until_written<F: Future<Output = Result<(), String>>>(
    write: impl Fn() -> F,
) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match write().await {
            Ok(()) => return Ok(()),
            Err(error) if start.elapsed() >= DEADLINE => return Err(error),
            Err(_) => sleep(PAUSE).await,
        }
    }
}
