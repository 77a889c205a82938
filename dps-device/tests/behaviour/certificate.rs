//! A registration with a certificate request: the requests that are sent, and the answers that are accepted.

use std::error::Error as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use dps_device::attestation::Proof;
use dps_device::certificate::{
    CertificateFault, CertificateRequest, Credential, IssuedCertificate, KeyKind, KeyPair,
    KeySource, MemoryKeySource,
};
use dps_device::transport::{Reply, Session, Target, TransportError};
use dps_device::{
    ApiVersion, Attestation, ErrorKind, Event, ProvisioningClient, SymmetricKey,
    SymmetricKeyAttestation, Transport,
};
use dps_hardware::SoftwareTpm;
use dps_types::{OperationId, RegistrationRequest};
use serde_json::{Value, json};

use crate::pki::{Pki, device_key, to_base64};
use crate::script::{ASSIGNED, ASSIGNING, KEY, OPERATION};

const DEVICE: &str = "my-device";

/// A service that issues certificates, and a device with a symmetric key.
#[derive(Debug, Clone)]
pub(crate) struct Service(Arc<State>);

type Edit = dyn Fn(&mut Vec<String>) + Send + Sync;

pub(crate) struct State {
    pki: Pki,
    edit: Box<Edit>,
    seen: Mutex<Vec<(ApiVersion, Value)>>,
    csr: Mutex<Option<String>>,
    /// The start of the validity of new certificates.
    starts: Mutex<SystemTime>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

impl Service {
    pub(crate) fn new() -> Self {
        Self::editing(|_| {})
    }

    /// A service that changes the chain before it sends it.
    fn editing(edit: impl Fn(&mut Vec<String>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(State {
            pki: Pki::new(),
            edit: Box::new(edit),
            seen: Mutex::default(),
            csr: Mutex::default(),
            starts: Mutex::new(SystemTime::now()),
        }))
    }

    /// Issues certificates that are valid from this time on.
    #[cfg(feature = "hub")]
    pub(crate) fn issue_from(&self, time: SystemTime) {
        *self.0.starts.lock().unwrap() = time;
    }

    #[cfg(feature = "hub")]
    pub(crate) fn pki(&self) -> &Pki {
        &self.0.pki
    }

    /// Issues a certificate for a request in base64.
    pub(crate) fn issue(&self, csr: &str) -> Vec<String> {
        let start = *self.0.starts.lock().unwrap();
        self.0.pki.issue(csr, DEVICE, start)
    }

    pub(crate) fn client(&self) -> ProvisioningClient {
        let key = SymmetricKey::from_base64(KEY).unwrap();
        self.client_of(SymmetricKeyAttestation::new(DEVICE.parse().unwrap(), key))
    }

    fn client_of(&self, who: impl Attestation + 'static) -> ProvisioningClient {
        ProvisioningClient::new("0ne00111111".parse().unwrap(), who, self.clone())
    }

    /// The api-version and the body of each registration.
    pub(crate) fn seen(&self) -> Vec<(ApiVersion, Value)> {
        self.0.seen.lock().unwrap().clone()
    }

    fn assigned(&self, tpm: bool) -> String {
        let mut answer: Value = serde_json::from_str(ASSIGNED).unwrap();
        let state = &mut answer["registrationState"];
        if tpm {
            state.as_object_mut().unwrap().remove("symmetricKey");
        }
        if let Some(csr) = &*self.0.csr.lock().unwrap() {
            let mut chain = self.issue(csr);
            (self.0.edit)(&mut chain);
            if !chain.is_empty() {
                state["issuedCertificateChain"] = json!(chain);
            }
        }
        answer.to_string()
    }
}

#[async_trait]
impl Transport for Service {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        Ok(Box::new(Open {
            service: self,
            version: target.api_version(),
            tpm: matches!(proof, Proof::Tpm(_)),
        }))
    }
}

struct Open<'a> {
    service: &'a Service,
    version: ApiVersion,
    tpm: bool,
}

#[async_trait]
impl Session for Open<'_> {
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        let body = serde_json::to_value(body).unwrap();
        let csr = body["csr"].as_str().map(ToOwned::to_owned);
        *self.service.0.csr.lock().unwrap() = csr;
        self.service
            .0
            .seen
            .lock()
            .unwrap()
            .push((self.version, body));
        Ok(Reply::new(202, ASSIGNING))
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        assert_eq!(operation.as_str(), OPERATION);
        Ok(Reply::new(200, self.service.assigned(self.tpm)))
    }
}

async fn request(kind: KeyKind) -> CertificateRequest {
    let key = KeyPair::generate(kind).unwrap();
    CertificateRequest::new(DEVICE.parse().unwrap(), key)
        .await
        .unwrap()
}

async fn fault(service: &Service) -> CertificateFault {
    let request = request(KeyKind::P256).await;
    let error = service
        .client()
        .register()
        .certificate(request)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Certificate);
    assert!(!error.is_retryable());
    let source = error.source().unwrap().downcast_ref::<CertificateFault>();
    source.unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_issued_with_the_registration() {
    for kind in [KeyKind::P256, KeyKind::P384] {
        let service = Service::new();
        let request = request(kind).await;
        let registration = service
            .client()
            .register()
            .payload(json!({"model": "toaster"}));
        let (assignment, certificate) = registration.certificate(request.clone()).await.unwrap();

        assert_eq!(assignment.hub().as_str(), "hub.azure-devices.net");
        let [(version, body)] = &service.seen()[..] else {
            panic!("one registration")
        };
        assert_eq!(version.to_string(), "2026-11-01");
        let expected = json!({
            "registrationId": "my-device",
            "csr": request.to_base64(),
            "payload": {"model": "toaster"},
        });
        assert_eq!(*body, expected);

        assert_eq!(certificate.registration_id().as_str(), DEVICE);
        assert_eq!(certificate.key().public_key(), request.key().public_key());
        assert_eq!(certificate.chain().count(), 3);
        // The root is not sent in a TLS handshake.
        assert_eq!(certificate.identity().chain().count(), 2);
        assert!(!certificate.has_expired(SystemTime::now()));
        assert!(certificate.has_expired(certificate.valid_until()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_api_version_is_kept() {
    for (chosen, used) in [
        ("2019-03-31", "2026-11-01"),
        ("2021-10-01", "2026-11-01"),
        ("2025-07-01-preview", "2025-07-01-preview"),
        ("2026-11-02-preview", "2026-11-02-preview"),
    ] {
        let service = Service::new();
        let client = service.client().with_api_version(chosen.parse().unwrap());
        client
            .register()
            .certificate(request(KeyKind::P256).await)
            .await
            .unwrap();
        client.register().await.unwrap();
        let versions = service
            .seen()
            .into_iter()
            .map(|(version, _)| version.to_string());
        assert_eq!(versions.collect::<Vec<_>>(), [used, chosen]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_with_a_tpm_needs_no_hub_key_with_a_certificate() {
    let service = Service::new();
    let tpm = SoftwareTpm::from_vector();
    let client = service.client_of(tpm.attestation_as(DEVICE.parse().unwrap()));
    client
        .register()
        .certificate(request(KeyKind::P256).await)
        .await
        .unwrap();
    let error = client.register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test(start_paused = true)]
async fn the_events_have_the_certificate() {
    let service = Service::new();
    let registration = service
        .client()
        .register()
        .certificate(request(KeyKind::P256).await);
    let mut events = registration.events();
    let mut last = Vec::new();
    while let Some(event) = events.next().await {
        last.push(event);
    }
    let [
        ..,
        Event::CertificateIssued(certificate),
        Event::Assigned(_),
    ] = &last[..]
    else {
        panic!("{last:?}");
    };
    assert_eq!(certificate.registration_id().as_str(), DEVICE);
}

#[tokio::test(start_paused = true)]
async fn an_assignment_without_a_certificate_is_an_error() {
    assert_eq!(
        fault(&Service::editing(Vec::clear)).await,
        CertificateFault::Missing
    );
}

#[tokio::test(start_paused = true)]
async fn a_chain_that_does_not_fit_is_refused() {
    let reversed = fault(&Service::editing(|chain| chain.reverse())).await;
    assert!(
        matches!(reversed, CertificateFault::Order { position: 1, .. }),
        "{reversed}"
    );
    let alone = fault(&Service::editing(|chain| chain.truncate(1))).await;
    assert_eq!(alone, CertificateFault::NoIssuer);
    let many = fault(&Service::editing(|chain| {
        let root = chain[2].clone();
        chain.resize(9, root);
    }))
    .await;
    assert!(matches!(many, CertificateFault::TooMany { found: 9, .. }));
    let text = fault(&Service::editing(|chain| chain[1].insert(7, '!'))).await;
    assert!(
        matches!(text, CertificateFault::Malformed { position: 2, .. }),
        "{text}"
    );
    // PEM lines are not part of the protocol.
    let pem = fault(&Service::editing(|chain| {
        chain[0] = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----",
            chain[0]
        );
    }))
    .await;
    assert!(matches!(
        pem,
        CertificateFault::Malformed { position: 1, .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_another_device_or_key_is_refused() {
    let other = Pki::new();
    let key = device_key(&KeyPair::generate(KeyKind::P256).unwrap());
    let chain = other
        .issue_for(&key, DEVICE, SystemTime::now())
        .map(to_base64)
        .to_vec();
    let other_key = fault(&Service::editing(move |sent| sent.clone_from(&chain))).await;
    assert_eq!(other_key, CertificateFault::OtherKey);

    let service = Service::new();
    let id = "another-device";
    let key = SymmetricKey::from_base64(KEY).unwrap();
    let client = service.client_of(SymmetricKeyAttestation::new(id.parse().unwrap(), key));
    let error = client
        .register()
        .certificate(request(KeyKind::P256).await)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(error.to_string().contains("another-device"), "{error}");
    assert_eq!(service.seen(), []);
}

#[tokio::test(start_paused = true)]
async fn the_clock_of_the_client_decides_about_the_validity() {
    #[derive(Debug)]
    struct Late;
    impl dps_device::Clock for Late {
        fn now(&self) -> SystemTime {
            SystemTime::now() + Duration::from_secs(40 * 86400)
        }
    }
    let client = Service::new().client().with_clock(Late);
    let request = request(KeyKind::P256).await;
    let error = client.register().certificate(request).await.unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains("expired at 20") && text.contains("clock of the device"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stored_certificate_is_opened_with_its_key_only() {
    let service = Service::new();
    let keys = MemoryKeySource::new(KeyKind::P384);
    let (name, key) = keys.generate(&[]).await.unwrap();
    let request = CertificateRequest::new(DEVICE.parse().unwrap(), key)
        .await
        .unwrap();
    let (_, issued) = service
        .client()
        .register()
        .certificate(request)
        .await
        .unwrap();

    let stored = Credential::new(name, &issued).to_json().unwrap();
    let stored = Credential::from_json(&stored).unwrap();
    let id = DEVICE.parse().unwrap();
    let opened: IssuedCertificate = stored.open(&id, &keys).await.unwrap();
    assert_eq!(opened, issued);
    assert_eq!(opened.valid_until(), issued.valid_until());

    let other = "another-device".parse().unwrap();
    let error = stored.open(&other, &keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Certificate);
    let (other_name, _) = keys.generate(&[]).await.unwrap();
    let other_key = Credential::new(other_name, &issued);
    let error = other_key.open(&id, &keys).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("another public key"),
        "{error:#}"
    );
}
