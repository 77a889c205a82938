//! Attestations, and refused credentials.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dps_device::attestation::Proof;
use dps_device::transport::{Reply, Session, Target, TransportError};
use dps_device::{
    Attestation, ClientIdentity, ErrorKind, Event, ProvisioningClient, SymmetricKey,
    SymmetricKeyAttestation, Transport, X509Attestation,
};
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::{OperationId, RegistrationId, RegistrationRequest};
use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

use crate::script::{ASSIGNED, ASSIGNING};

const REFUSED: &str = r#"{"errorCode":401002,"message":"Unauthorized"}"#;
/// Of the documentation on symmetric key attestation.
const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
const GROUP_DEVICE: &str = "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6";
const DERIVED_KEY: &str = "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=";

/// A service that accepts some keys: it requests a signature of the proof, and records its answers.
#[derive(Debug, Clone, Default)]
struct KeyService {
    accepted: Arc<Mutex<Vec<[u8; 32]>>>,
    answers: Arc<Mutex<Vec<String>>>,
}

impl KeyService {
    fn accepting(keys: &[&SymmetricKey]) -> Self {
        let service = Self::default();
        service.accept_keys(keys);
        service
    }

    fn accept_keys(&self, keys: &[&SymmetricKey]) {
        let signatures = keys.iter().map(|key| key.hmac_sha256(b"hello"));
        *self.accepted.lock().unwrap() = signatures.collect();
    }

    fn client(&self, who: impl Attestation + 'static) -> ProvisioningClient {
        ProvisioningClient::new("0ne00111111".parse().unwrap(), who, self.clone())
    }

    fn answers(&self) -> Vec<String> {
        self.answers.lock().unwrap().clone()
    }
}

#[async_trait]
impl Transport for KeyService {
    async fn open<'a>(
        &'a self,
        _: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        match proof {
            Proof::SharedKey(signer) => Ok(Box::new(KeySession(self, signer))),
            other => panic!("{other:?}"),
        }
    }
}

struct KeySession<'a>(&'a KeyService, &'a dyn Sign);

impl KeySession<'_> {
    async fn answer(&self, what: &str, status: u16, body: &str) -> Result<Reply, TransportError> {
        let signature = self.1.sign(b"hello").await.map_err(|error| {
            TransportError::new(ErrorKind::Signing, "the key could not sign").with_source(error)
        })?;
        let accepted_key = self.0.accepted.lock().unwrap().contains(&signature.0);
        let (status, body) = if accepted_key {
            (status, body)
        } else {
            (401, REFUSED)
        };
        let mut answers = self.0.answers.lock().unwrap();
        answers.push(format!("{what} {status}"));
        Ok(Reply::new(status, body))
    }
}

#[async_trait]
impl Session for KeySession<'_> {
    async fn register(&mut self, _: &RegistrationRequest) -> Result<Reply, TransportError> {
        self.answer("PUT", 202, ASSIGNING).await
    }

    async fn status(&mut self, _: &OperationId) -> Result<Reply, TransportError> {
        let body = ASSIGNED.replace(r#""registrationId":"my-device","#, "");
        self.answer("GET", 200, &body).await
    }
}

fn id(text: &str) -> RegistrationId {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_secondary_key_is_tried_once_when_the_primary_is_refused() {
    let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
    let service = KeyService::accepting(&[&secondary]);
    let who = SymmetricKeyAttestation::new(id("my-device"), primary).with_secondary(secondary);
    let mut registration = service.client(who).register().events();
    let mut fell_back = 0;
    let mut last = None;
    while let Some(event) = registration.next().await {
        if let Event::FallingBack { error, .. } = &event {
            assert_eq!(error.kind(), ErrorKind::Unauthorized);
            fell_back += 1;
        }
        last = Some(event);
    }
    assert_eq!(fell_back, 1);
    assert!(matches!(last, Some(Event::Assigned(_))), "{last:?}");
    assert_eq!(service.answers(), ["PUT 401", "PUT 202", "GET 200"]);
}

#[tokio::test(start_paused = true)]
async fn each_registration_begins_with_the_primary_key() {
    let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
    let service = KeyService::accepting(&[&secondary]);
    let who =
        SymmetricKeyAttestation::new(id("my-device"), primary.clone()).with_secondary(secondary);
    let client = service.client(who);
    client.register().await.unwrap();
    service.accept_keys(&[&primary]);
    client.register().await.unwrap();
    assert_eq!(
        service.answers(),
        ["PUT 401", "PUT 202", "GET 200", "PUT 202", "GET 200"]
    );
}

#[tokio::test(start_paused = true)]
async fn two_refused_keys_are_refused() {
    let service = KeyService::default();
    let who = SymmetricKeyAttestation::new(id("my-device"), SymmetricKey::generate())
        .with_secondary(SymmetricKey::generate());
    let error = service.client(who).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(service.answers(), ["PUT 401", "PUT 401"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_secondary_key_the_refusal_is_final() {
    let service = KeyService::default();
    let who = SymmetricKeyAttestation::new(id("my-device"), SymmetricKey::generate());
    let error = service.client(who).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(service.answers(), ["PUT 401"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_of_a_group_signs_with_the_derived_key() {
    let group = SymmetricKey::from_base64(GROUP_KEY).unwrap();
    let derived = SymmetricKey::from_base64(DERIVED_KEY).unwrap();
    let service = KeyService::accepting(&[&derived]);
    let who = SymmetricKeyAttestation::from_group(id(GROUP_DEVICE), &group);
    service.client(who).register().await.unwrap();

    let who = SymmetricKeyAttestation::from_group(id(GROUP_DEVICE), &SymmetricKey::generate())
        .with_secondary_group_key(&group);
    service.client(who).register().await.unwrap();
}

/// A key in hardware, which may be missing.
struct HardwareKey(Option<SymmetricKey>);

#[async_trait]
impl Sign for HardwareKey {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        match &self.0 {
            Some(key) => key.sign(data).await,
            None => Err(SignError::new("the hardware is missing")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_may_sign_in_hardware() {
    let key = SymmetricKey::generate();
    let service = KeyService::accepting(&[&key]);
    let who = SymmetricKeyAttestation::from_signer(id("my-device"), HardwareKey(Some(key)));
    service.client(who).register().await.unwrap();

    let who = SymmetricKeyAttestation::from_signer(id("my-device"), HardwareKey(None));
    let error = service.client(who).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signing);
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "the hardware is missing");
}

fn certificate(name: Option<&str>, key: &KeyPair) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.self_signed(key).unwrap().pem()
}

#[test]
fn the_common_name_is_the_registration_id() {
    let key = KeyPair::generate().unwrap();
    let pem = certificate(Some("Dev:1.x_y-Z"), &key);
    let who = X509Attestation::from_pem(&pem, key.serialize_pem()).unwrap();
    assert_eq!(who.registration_id().as_str(), "Dev:1.x_y-Z");

    let who = who.with_registration_id(id("dev:1.X_Y-z")).unwrap();
    assert_eq!(who.registration_id().as_str(), "dev:1.X_Y-z");
    let error = who.with_registration_id(id("another")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(error.to_string().contains("dev:1.X_Y-z"), "{error}");
    assert!(error.to_string().contains("another"), "{error}");
}

#[test]
fn a_leaf_that_cannot_name_a_device_is_refused() {
    let key = KeyPair::generate().unwrap();
    for name in [None, Some("my device"), Some("gerät"), Some("a_"), Some("")] {
        let pem = certificate(name, &key);
        let error = X509Attestation::from_pem(pem, key.serialize_pem()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{name:?}");
    }
}

#[test]
fn the_key_must_match_the_leaf_certificate() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let pem = certificate(Some("my-device"), &key);
    for key in [other.serialize_pem(), String::new(), "no key".to_owned()] {
        let error = ClientIdentity::from_pem(&pem, key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
    for chain in ["", "no chain"] {
        let error = ClientIdentity::from_pem(chain, key.serialize_pem()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    }
    let error = ClientIdentity::from_der([], key.serialize_der()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    let error = ClientIdentity::from_files("/no/such/chain.pem", "/no/such/key.pem").unwrap_err();
    assert!(error.to_string().contains("/no/such/chain.pem"), "{error}");
}

fn two_names(first: DnValue, last: DnValue, key: &KeyPair) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, first);
    let common_name = DnType::CustomDnType(vec![2, 5, 4, 3]);
    params.distinguished_name.push(common_name, last);
    params.self_signed(key).unwrap().pem()
}

/// As .NET reads a certificate: the most specific name is the last one.
#[test]
fn the_last_of_several_common_names_is_the_registration_id() {
    let key = KeyPair::generate().unwrap();
    let utf8 = |text: &str| DnValue::Utf8String(text.to_owned());
    let printable = |text: &str| DnValue::PrintableString(text.try_into().unwrap());
    let bmp = |text: &str| DnValue::BmpString(text.try_into().unwrap());
    let teletex = |text: &str| DnValue::TeletexString(text.try_into().unwrap());
    for (first, last) in [
        (utf8("Contoso"), utf8("my-device")),
        (utf8("my device"), printable("my-device")),
        (printable("other-device"), bmp("my-device")),
        (bmp("other-device"), teletex("my-device")),
    ] {
        let pem = two_names(first, last, &key);
        let attestation = X509Attestation::from_pem(pem, key.serialize_pem()).unwrap();
        assert_eq!(attestation.registration_id().as_str(), "my-device");
    }
    // A valid first name does not help an invalid last one.
    let pem = two_names(utf8("my-device"), utf8("my device"), &key);
    let error = X509Attestation::from_pem(pem, key.serialize_pem()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

#[test]
fn a_version_1_certificate_is_refused_with_the_command_that_helps() {
    let chain = include_str!("../fixtures/version-1.pem");
    let key = include_str!("../fixtures/version-1-key.pem");
    let error = X509Attestation::from_pem(chain, key).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    let text = error.to_string();
    for part in [
        "version 1",
        "openssl x509 -req",
        "-extfile",
        "extendedKeyUsage",
    ] {
        assert!(text.contains(part), "{text}");
    }
}
