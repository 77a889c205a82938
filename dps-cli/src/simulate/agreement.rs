//! The plan agrees with the SDK: ten thousand real clients register in virtual time with a service in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dps_device::attestation::Proof;
use dps_device::transport::{Reply, Session, Target, TransportError};
use dps_device::{
    OperationId, ProvisioningClient, RegistrationRequest, SymmetricKey, SymmetricKeyAttestation,
    Transport,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::arrival::Pattern;
use super::limits::Tier;
use super::plan::{Backoff, Plan};

const DEVICES: u64 = 10_000;
const RATE: u64 = 1000;

/// A service that counts registrations in windows of a minute, and refuses those above the rate until the next window.
#[derive(Debug)]
struct Service {
    began: Instant,
    window: Mutex<(u64, u64)>,
    refused: AtomicU64,
}

impl Service {
    fn admit(&self) -> Result<(), Duration> {
        let elapsed = self.began.elapsed();
        let number = elapsed.as_secs() / 60;
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0 != number {
            *window = (number, 0);
        }
        if window.1 < RATE {
            window.1 += 1;
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(Duration::from_secs((number + 1) * 60) - elapsed)
    }
}

#[async_trait]
impl Transport for Service {
    fn name(&self) -> &str {
        "memory"
    }

    async fn open<'a>(
        &'a self,
        target: &'a Target,
        _: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        Ok(Box::new(Connection {
            service: self,
            id: target.registration_id().to_string(),
        }))
    }
}

struct Connection<'a> {
    service: &'a Service,
    id: String,
}

#[async_trait]
impl Session for Connection<'_> {
    async fn register(&mut self, _: &RegistrationRequest) -> Result<Reply, TransportError> {
        Ok(match self.service.admit() {
            Ok(()) => {
                let body = r#"{"operationId":"4.0.0","status":"assigning"}"#;
                Reply::new(202, body).with_retry_after(Duration::from_secs(3))
            }
            Err(rest) => {
                let body = r#"{"errorCode":429001,"message":"Operations are being throttled for this tenant."}"#;
                Reply::new(429, body).with_retry_after(rest)
            }
        })
    }

    async fn status(&mut self, _: &OperationId) -> Result<Reply, TransportError> {
        let id = &self.id;
        Ok(Reply::new(
            200,
            format!(
                r#"{{"operationId":"4.0.0","status":"assigned","registrationState":{{"registrationId":"{id}","deviceId":"{id}","assignedHub":"hub-a.azure-devices.net","status":"assigned"}}}}"#
            ),
        ))
    }

    async fn lookup(&mut self, _: &RegistrationRequest) -> Result<Reply, TransportError> {
        Ok(Reply::new(404, ""))
    }
}

#[tokio::test(start_paused = true)]
async fn the_plan_agrees_with_ten_thousand_clients() {
    let service = Arc::new(Service {
        began: Instant::now(),
        window: Mutex::default(),
        refused: AtomicU64::default(),
    });
    let mut devices = JoinSet::new();
    for index in 0..DEVICES {
        let id = format!("device-{index}").parse().unwrap();
        let attestation =
            SymmetricKeyAttestation::new(id, SymmetricKey::from_bytes(vec![7; 32]).unwrap());
        let client = ProvisioningClient::new(
            "0ne00000001".parse().unwrap(),
            attestation,
            Arc::clone(&service),
        );
        devices.spawn(async move {
            client
                .register()
                .timeout(Duration::from_secs(7200))
                .await
                .map(drop)
        });
    }
    while let Some(done) = devices.join_next().await {
        done.unwrap().unwrap();
    }
    let real = service.began.elapsed().as_secs_f64();
    let refused = service.refused.load(Ordering::Relaxed) as f64;

    let plan = Plan {
        devices: DEVICES,
        pattern: Pattern::AtOnce,
        over: Duration::ZERO,
        instances: 1,
        rate: RATE as u32,
        hubs: 1,
        tier: Tier::S3,
        units: 200,
        backoff: Backoff::Sdk,
        seed: 1,
    };
    let planned = plan.run().unwrap();
    let seconds = planned.timeline.end().as_secs_f64();
    assert!(
        (seconds - real).abs() <= 0.1 * real,
        "planned {seconds} s, with clients {real} s"
    );
    let planned_refused = planned.refused as f64;
    assert!(
        (planned_refused - refused).abs() <= 0.1 * refused,
        "planned {planned_refused}, with clients {refused}"
    );
}
