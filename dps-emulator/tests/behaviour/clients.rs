//! Our own clients against the emulator, end to end.

use std::time::Duration;

use dps_allocation::{Allocation, Webhook, from_fn};
use dps_device::{
    ErrorKind, Event, Http, ProvisioningClient, SymmetricKeyAttestation, X509Attestation,
};
use dps_emulator::{CertificateAuthority, Emulator};
use dps_service::{ErrorKind as ServiceErrorKind, ServiceClient};
use dps_tls::Roots;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment, ProvisioningStatus};
use dps_types::{ErrorCode, RegistrationStatus, RegistrationSubstatus, SymmetricKey};
use serde_json::{Value, json};

use crate::common::linked;
use crate::common::serve;

/// An emulator and an operator.
struct Setup {
    emulator: Emulator,
    dps: ServiceClient,
}

impl Setup {
    async fn start() -> Self {
        let builder = Emulator::builder()
            .retry_after(Duration::ZERO)
            .link_hub(linked("hub-a"));
        let emulator = builder.start().await.expect("an emulator");
        let dps = ServiceClient::from_connection_string(&emulator.service_connection_string())
            .expect("a connection string")
            .with_roots(Roots::from_pem(emulator.ca_pem()).expect("the CA"));
        Self { emulator, dps }
    }

    fn device(&self, attestation: impl dps_device::Attestation + 'static) -> ProvisioningClient {
        let transport = Http::default().with_port(self.emulator.https_port());
        ProvisioningClient::new(self.emulator.id_scope().clone(), attestation, transport)
            .with_host(dps_device::Host::LOCALHOST)
            .with_roots(Roots::from_pem(self.emulator.ca_pem()).expect("the CA"))
            .with_min_poll_interval(Duration::ZERO)
    }

    async fn enroll(&self, enrollment: &IndividualEnrollment) {
        let enrollments = self.dps.individual_enrollments();
        enrollments.create(enrollment).await.expect("created");
    }

    async fn enroll_group(&self, group: &EnrollmentGroup) {
        let groups = self.dps.enrollment_groups();
        groups.create(group).await.expect("created");
    }
}

fn id<T: std::str::FromStr<Err = dps_types::ParseError>>(text: &str) -> T {
    text.parse().expect("valid")
}

#[tokio::test]
async fn a_device_with_a_key_of_its_own() {
    let setup = Setup::start().await;
    let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
    let enrollment = IndividualEnrollment::from_keys(id("dev-1"), &primary, &secondary)
        .with_device_id(id("toaster"));
    setup.enroll(&enrollment).await;
    for key in [primary, secondary] {
        let device = setup.device(SymmetricKeyAttestation::new(id("dev-1"), key));
        let assignment = device.register().await.expect("assigned");
        assert_eq!(assignment.hub().as_str(), "hub-a");
        assert_eq!(assignment.device_id().as_str(), "toaster");
    }
}

#[tokio::test]
async fn a_device_of_a_key_group() {
    let setup = Setup::start().await;
    let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
    setup
        .enroll_group(&EnrollmentGroup::from_keys(id("g"), &primary, &secondary))
        .await;
    let device = setup.device(SymmetricKeyAttestation::from_group(id("Dev:1"), &primary));
    let assignment = device.register().await.expect("assigned");
    assert_eq!(assignment.device_id().as_str(), "Dev:1");
    assert_eq!(
        assignment.substatus(),
        Some(&RegistrationSubstatus::InitialAssignment)
    );
}

#[tokio::test]
async fn a_device_falls_back_to_its_secondary_key() {
    let setup = Setup::start().await;
    let (old, new) = (SymmetricKey::generate(), SymmetricKey::generate());
    setup
        .enroll(&IndividualEnrollment::from_keys(id("dev-1"), &new, &new))
        .await;
    let keys = SymmetricKeyAttestation::new(id("dev-1"), old).with_secondary(new);
    let device = setup.device(keys);
    let mut events = device.register().events();
    let mut fell_back = false;
    let outcome = loop {
        match events.next().await.expect("an outcome") {
            Event::FallingBack { error, .. } => {
                assert_eq!(error.kind(), ErrorKind::Unauthorized);
                fell_back = true;
            }
            Event::Assigned(assignment) => break assignment,
            Event::Failed(error) => panic!("{error}"),
            _ => {}
        }
    };
    assert!(fell_back);
    assert_eq!(outcome.hub().as_str(), "hub-a");
}

#[tokio::test]
async fn a_device_with_a_certificate_below_an_intermediate() {
    let setup = Setup::start().await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let line = root.intermediate("Contoso Line 1").expect("a CA");
    let credentials = line.issue("dev-1").expect("a certificate");
    let group = EnrollmentGroup::signing_certificate(id("contoso"), root.certificate_pem());
    setup.enroll_group(&group).await;
    let key = credentials.private_key_pem();
    let whole = X509Attestation::from_pem(credentials.certificate_chain_pem(), key);
    let device = setup.device(whole.expect("an identity"));
    let assignment = device.register().await.expect("assigned");
    let part = assignment
        .registration()
        .x509
        .as_ref()
        .expect("an x509 part");
    assert_eq!(part.enrollment_group_id, Some(id("contoso")));

    let leaf = X509Attestation::from_pem(credentials.certificate_pem(), key);
    let device = setup.device(leaf.expect("an identity"));
    let error = device.register().await.expect_err("no chain");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let problem = error.error_details().expect("an account");
    assert_eq!(
        problem.message.as_deref(),
        Some("CA certificate not found.")
    );
}

#[tokio::test]
async fn device_and_webhook_exchange_payloads() {
    let setup = Setup::start().await;
    let policy = from_fn(|request| {
        let payload: Value = request.payload()?;
        Ok(Allocation::to(request.linked_hubs[0].clone()).payload(json!({ "received": payload })))
    });
    let (url, _webhook) = serve(Webhook::new(policy)).await;
    let key = SymmetricKey::generate();
    let group = EnrollmentGroup::from_keys(id("g"), &key, &key).allocate_by_webhook(url);
    setup.enroll_group(&group).await;
    let device = setup.device(SymmetricKeyAttestation::from_group(id("dev-1"), &key));
    let assignment = device
        .register()
        .payload(json!(["hello"]))
        .await
        .expect("assigned");
    assert_eq!(
        assignment.payload_json(),
        Some(&json!({ "received": ["hello"] }))
    );
    let error = device.register().await.expect_err("there is no payload");
    assert_eq!(error.kind(), ErrorKind::Failed);
    let problem = error.error_details().expect("an account");
    assert_eq!(problem.error_code.map(ErrorCode::get), Some(400_207));
    assert_eq!(
        problem.message.as_deref(),
        Some("Custom allocation failed with status code: 400")
    );
}

#[tokio::test]
async fn a_refused_device_receives_the_reason() {
    let setup = Setup::start().await;
    let key = SymmetricKey::generate();
    let disabled = IndividualEnrollment::from_keys(id("off"), &key, &key)
        .with_provisioning_status(ProvisioningStatus::Disabled);
    setup.enroll(&disabled).await;
    let device = setup.device(SymmetricKeyAttestation::new(id("off"), key.clone()));
    let error = device.register().await.expect_err("disabled");
    assert_eq!(error.kind(), ErrorKind::Disabled);

    let device = setup.device(SymmetricKeyAttestation::new(id("stranger"), key));
    let error = device.register().await.expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let problem = error.error_details().expect("an account");
    assert_eq!(problem.error_code.map(ErrorCode::get), Some(401_002));
    assert!(problem.tracking_id.is_some());
}

#[tokio::test]
async fn a_lookup_follows_the_device() {
    let setup = Setup::start().await;
    let key = SymmetricKey::generate();
    let enrollment = IndividualEnrollment::from_keys(id("dev-1"), &key, &key);
    setup.enroll(&enrollment).await;
    let device = setup.device(SymmetricKeyAttestation::new(id("dev-1"), key));
    let state = device.lookup().await.expect("an answer");
    assert_eq!(state.status, Some(RegistrationStatus::Unassigned));
    let assignment = device.register().await.expect("assigned");
    let state = device.lookup().await.expect("an answer");
    assert_eq!(state, *assignment.registration());
    let record = setup
        .dps
        .registrations()
        .get(&id("dev-1"))
        .await
        .expect("a record");
    assert_eq!(record.etag, state.etag);
    assert_eq!(record.assigned_hub, Some(id("hub-a")));
}

#[tokio::test]
async fn an_operator_meets_conflicts_and_conditions() {
    let setup = Setup::start().await;
    let enrollments = setup.dps.individual_enrollments();
    let wanted = IndividualEnrollment::symmetric_key(id("dev-1"));
    let created = enrollments.create(&wanted).await.expect("created");
    let error = enrollments.create(&wanted).await.expect_err("there");
    assert_eq!(error.kind(), ServiceErrorKind::Conflict);
    enrollments.update(&created).await.expect("updated");
    let error = enrollments.update(&created).await.expect_err("stale");
    assert_eq!(error.kind(), ServiceErrorKind::PreconditionFailed);
    let etag = created.etag.as_ref().expect("an ETag");
    let error = enrollments.delete_if_match(&id("dev-1"), etag).await;
    assert_eq!(
        error.expect_err("stale").kind(),
        ServiceErrorKind::PreconditionFailed
    );
    enrollments
        .create_or_replace(&wanted)
        .await
        .expect("replaced");
    enrollments.delete(&id("dev-1")).await.expect("deleted");
    let error = enrollments.get(&id("dev-1")).await.expect_err("gone");
    assert_eq!(error.kind(), ServiceErrorKind::NotFound);
}

#[tokio::test]
async fn an_operator_with_another_key_is_refused() {
    let setup = Setup::start().await;
    let port = setup.emulator.https_port();
    let key = SymmetricKey::generate().to_base64();
    let connection = format!(
        "HostName=localhost:{port};SharedAccessKeyName=provisioningserviceowner;SharedAccessKey={}",
        &*key
    );
    let dps = ServiceClient::from_connection_string(&connection)
        .expect("a connection string")
        .with_roots(Roots::from_pem(setup.emulator.ca_pem()).expect("the CA"));
    let error = dps
        .enrollment_groups()
        .get(&id("g"))
        .await
        .expect_err("refused");
    assert_eq!(error.kind(), ServiceErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_emulator_reports_it() {
    let setup = Setup::start().await;
    let other = CertificateAuthority::new("Someone Else").expect("a CA");
    let key = SymmetricKey::generate();
    let device = setup
        .device(SymmetricKeyAttestation::new(id("dev-1"), key))
        .with_roots(Roots::from_pem(other.certificate_pem()).expect("a CA"));
    let error = device.register().await.expect_err("not trusted");
    assert_eq!(error.kind(), ErrorKind::Tls);
}
