//! A registration that its device does not wait for.

use std::time::Duration;

use async_trait::async_trait;
use dps_allocation::WebhookClient;
use dps_allocation::policies::LatencyTable;
use dps_types::enrollment::{AllocationPolicyKind, IndividualEnrollment};
use dps_types::sas::SasTokenBuilder;
use dps_types::{Clock, SymmetricKey};
use serde_json::json;
use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::access::Access;
use crate::allocate::{Allocator, LinkedHub};
use crate::ca_certificates::CaCertificates;
use crate::current::Current;
use crate::hub::{self, HubSettings, Hubs};
use crate::instance::Settings;
use crate::limits::{Limits, Throttle};
use crate::state::State;
use crate::state::store::{Change, MemoryStore, Store, StoreError, Table};
use dps_types::SystemClock;

const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// A store that has written a registration, and delays its answer.
#[derive(Debug)]
struct Slow {
    store: MemoryStore,
    written: Notify,
    answers: Semaphore,
}

#[async_trait]
impl Store for Slow {
    async fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(table, key).await
    }

    async fn apply(&self, changes: &[Change<'_>]) -> Result<bool, StoreError> {
        let applied = self.store.apply(changes).await;
        if changes.iter().any(|it| it.table == Table::Registrations) {
            self.written.notify_one();
            self.answers.acquire().await.expect("never closed").forget();
        }
        applied
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.scan(table, after, limit).await
    }
}

#[tokio::test]
async fn a_device_that_disconnects_while_its_registration_is_written_is_assigned() {
    let store = Arc::new(Slow {
        store: MemoryStore::new(),
        written: Notify::new(),
        answers: Semaphore::new(0),
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let hub: LinkedHub = "hub-a".parse().unwrap();
    let service_key = SymmetricKey::generate();
    let linked = hub::LinkedHub::derived(hub.hostname.clone(), &service_key, "localhost");
    let hubs = Hubs::new(
        Arc::clone(&store) as Arc<dyn Store>,
        Arc::clone(&clock),
        vec![linked.unwrap()],
        HubSettings::default(),
    );
    let id_scope: IdScope = "0ne00000001".parse().unwrap();
    let registration_id: RegistrationId = "d1".parse().unwrap();
    let state = State::new(
        Arc::clone(&store) as Arc<dyn Store>,
        Arc::clone(&clock),
        Limits::default(),
    );
    let instance = Instance {
        id_scope: id_scope.clone(),
        cas: CaCertificates::new(state.clone(), &[]),
        state,
        throttle: Throttle::new(&Limits::default(), None),
        allocator: Allocator::new(
            vec![hub],
            AllocationPolicyKind::Hashed,
            LatencyTable::new(),
            WebhookClient::new(),
        ),
        hubs: Arc::new(hubs),
        issuance: Arc::default(),
        access: Current::new(Access {
            policies: Vec::new(),
            bearer_tokens: Vec::new(),
            hosts: Vec::new(),
            local_auth_disabled: false,
        }),
        clock,
        settings: Settings {
            assign_delay: Duration::ZERO,
            require_verified_ca: false,
            retry_after_seconds: 3,
            mqtt_answer_delay: Duration::ZERO,
            any_api_version: false,
        },
    };
    let engine = Arc::new(Engine::new(Arc::new(instance), CancellationToken::new()));
    let enrollment: IndividualEnrollment = serde_json::from_value(json!({
        "registrationId": "d1",
        "attestation": { "type": "symmetricKey", "symmetricKey": { "primaryKey": KEY, "secondaryKey": KEY } },
    }))
    .unwrap();
    engine
        .instance
        .state
        .put_enrollment(enrollment, None, &[])
        .await
        .unwrap();
    let key = SymmetricKey::from_base64(KEY).unwrap();
    let token =
        SasTokenBuilder::new("0ne00000001/registrations/d1", 32_503_680_000).sign_with(&key);
    let device = Device {
        id_scope: &id_scope,
        registration_id: &registration_id,
        presented: Presented::Token(token),
        api_version: ApiVersion::V2021_06_01,
        takes_challenge: true,
        source: std::net::Ipv4Addr::LOCALHOST.into(),
    };

    tokio::select! {
        _ = engine.register(device, RegistrationRequest::default()) => panic!("the store has not answered"),
        () = store.written.notified() => {}
    }
    // The device has disconnected. The store answers, now and when the assignment is written.
    store.answers.add_permits(2);
    engine.stopped().await;

    let record = engine
        .instance
        .state
        .registration("d1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(record.record.status(), RegistrationStatus::Assigned);
}
