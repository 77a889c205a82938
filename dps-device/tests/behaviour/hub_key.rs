//! The hub key of an assignment, and a challenge that the service has lost.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dps_device::attestation::{Proof, TpmKeys};
use dps_device::{Assignment, Attestation, ErrorKind, Event, ProvisioningClient};
use dps_hardware::{SoftwareTpm, vector};
use dps_types::RegistrationId;
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::tpm::{AuthenticationKey, TpmPublic};
use tokio::time::Instant;

use crate::script::{
    ASSIGNED, POLL, REGISTER, Script, Step, answer, assert_wait, assigned, assigning,
};

const UNAUTHORIZED: &str = r#"{"errorCode":401002,"message":"Unauthorized"}"#;

/// The answer with this in place of the symmetric key result.
fn assigned_with(tpm: &str) -> String {
    let [before, after] = ASSIGNED.split(r#""symmetricKey":{}"#).collect::<Vec<_>>()[..] else {
        panic!("{ASSIGNED}");
    };
    format!("{before}{tpm}{after}")
}

pub(crate) fn assigned_with_hub_key() -> String {
    let key = vector::wrapped_hub_key();
    assigned_with(&format!(r#""tpm":{{"authenticationKey":"{key}"}}"#))
}

fn client(who: impl Attestation + 'static, script: &Script) -> ProvisioningClient {
    ProvisioningClient::new("0ne00111111".parse().unwrap(), who, script.clone())
}

async fn register(tpm: &SoftwareTpm, script: &Script) -> Result<Assignment, dps_device::Error> {
    let who = tpm.attestation_as("my-device".parse().unwrap());
    client(who, script).register().await
}

#[tokio::test(start_paused = true)]
async fn the_tpm_keeps_the_hub_key_of_the_assignment() {
    let at_once = vec![answer(200, &assigned_with_hub_key())];
    let advance_clock = vec![assigning(), answer(200, &assigned_with_hub_key())];
    for steps in [at_once, advance_clock] {
        let tpm = SoftwareTpm::from_vector();
        let assignment = register(&tpm, &Script::new(steps)).await.unwrap();
        assert_eq!(assignment.hub().as_str(), "hub.azure-devices.net");
        assert_eq!(tpm.hub_key(), Some(vector::hub_key()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_assignment_without_a_hub_key_is_a_protocol_error() {
    let challenge = vector::challenge();
    for (tpm, says) in [
        (r#""symmetricKey":{}"#.to_owned(), "no hub key"),
        (r#""tpm":{}"#.to_owned(), "no hub key"),
        (
            r#""tpm":{"authenticationKey":null}"#.to_owned(),
            "no hub key",
        ),
        (
            r#""tpm":{"authenticationKey":""}"#.to_owned(),
            "malformed key for the TPM",
        ),
        (
            r#""tpm":{"authenticationKey":"?"}"#.to_owned(),
            "malformed key for the TPM",
        ),
        (
            format!(r#""tpm":{{"authenticationKey":"{}"}}"#, &challenge[..400]),
            "malformed key for the TPM",
        ),
    ] {
        let device = SoftwareTpm::from_vector();
        let script = Script::new([answer(200, &assigned_with(&tpm))]);
        let error = register(&device, &script).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{tpm}");
        assert!(error.to_string().contains(says), "{tpm}: {error}");
        assert_eq!(device.hub_key(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_key_for_another_tpm_is_refused_and_the_old_one_stays() {
    let tpm = SoftwareTpm::from_vector();
    let script = Script::new([answer(200, &assigned_with_hub_key())]);
    register(&tpm, &script).await.unwrap();

    // The last byte of the wrapped key, which the integrity value covers.
    let mut bytes = AuthenticationKey::from_base64(&vector::wrapped_hub_key())
        .unwrap()
        .to_bytes();
    bytes[2 + 52 + 2 + 256 + 2 + 100] ^= 1;
    let foreign = AuthenticationKey::parse(&bytes).unwrap().to_base64();
    let foreign = assigned_with(&format!(r#""tpm":{{"authenticationKey":"{foreign}"}}"#));
    let script = Script::new([answer(200, &foreign)]);
    let error = register(&tpm, &script).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signing);
    assert_eq!(error.to_string(), "the TPM did not import the hub key");
    let source = error.source().unwrap();
    assert_eq!(source.to_string(), "the outer wrapper is not intact");
    assert_eq!(script.asked(), [REGISTER], "it is not retried");
    assert_eq!(tpm.hub_key(), Some(vector::hub_key()));
}

#[tokio::test(start_paused = true)]
async fn a_device_without_a_tpm_needs_no_hub_key() {
    let script = Script::new([answer(200, &assigned_with_hub_key()), assigned()]);
    script.client().register().await.unwrap();
    script.client().register().await.unwrap();
}

/// A TPM that never answers.
#[derive(Debug)]
struct HangingTpm {
    registration_id: RegistrationId,
    chip: SoftwareTpm,
    asked: AtomicUsize,
}

impl HangingTpm {
    fn new() -> Self {
        Self {
            registration_id: "my-device".parse().unwrap(),
            chip: SoftwareTpm::from_vector(),
            asked: AtomicUsize::new(0),
        }
    }

    async fn forever(&self) -> Result<(), SignError> {
        let before = self.asked.fetch_add(1, Ordering::Relaxed);
        assert_eq!(before, 0, "a TPM that hangs is not asked again");
        std::future::pending().await
    }
}

#[async_trait]
impl Sign for HangingTpm {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        self.chip.sign(data).await
    }
}

#[async_trait]
impl TpmKeys for HangingTpm {
    fn endorsement_key(&self) -> &TpmPublic {
        self.chip.endorsement_key()
    }
    fn storage_root_key(&self) -> &TpmPublic {
        self.chip.storage_root_key()
    }
    async fn activate(&self, _: &AuthenticationKey) -> Result<(), SignError> {
        self.forever().await
    }
    async fn keep_hub_key(&self, _: &AuthenticationKey) -> Result<(), SignError> {
        self.forever().await
    }
}

impl Attestation for HangingTpm {
    fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }
    fn proof(&self) -> Proof<'_> {
        Proof::Tpm(self)
    }
}

pub(crate) fn hanging_tpm() -> impl Attestation {
    HangingTpm::new()
}

#[tokio::test(start_paused = true)]
async fn a_tpm_that_hangs_is_a_failure_of_the_key() {
    let script = Script::new([answer(200, &assigned_with_hub_key())]);
    let start = Instant::now();
    let error = client(hanging_tpm(), &script).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signing);
    assert_eq!(
        error.to_string(),
        "the TPM did not import the hub key within 30s"
    );
    assert_wait(start.elapsed(), 30, 30);

    let script = Script::new([answer(200, &assigned_with_hub_key())]);
    let start = Instant::now();
    let register = client(hanging_tpm(), &script).register();
    let error = register.timeout(Duration::from_secs(10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_wait(start.elapsed(), 10, 10);
}

/// The service has the operation but not the key, for example after a restart.
#[tokio::test(start_paused = true)]
async fn a_refused_poll_leads_to_a_new_registration_and_challenge() {
    let script = Script::new([
        assigning(),
        answer(401, UNAUTHORIZED),
        assigning(),
        assigning(),
        // After a poll that succeeded it may happen again.
        answer(401, UNAUTHORIZED),
        answer(200, &assigned_with_hub_key()),
    ]);
    let tpm = SoftwareTpm::from_vector();
    let who = tpm.attestation_as("my-device".parse().unwrap());
    let mut registration = client(who, &script).register().events();
    let mut retried = Vec::new();
    let mut last = None;
    while let Some(event) = registration.next().await {
        if let Event::Retrying { error, .. } = &event {
            retried.push(error.kind());
        }
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::Assigned(_))), "{last:?}");
    assert_eq!(retried, [ErrorKind::Unauthorized; 2]);
    assert_eq!(
        script.asked(),
        [REGISTER, POLL, REGISTER, POLL, POLL, REGISTER]
    );
}

#[tokio::test(start_paused = true)]
async fn polls_that_are_refused_in_a_row_are_a_refusal() {
    let refused = || answer(401, UNAUTHORIZED);
    for (steps, asked) in [
        (
            vec![assigning(), refused(), assigning(), refused()],
            vec![REGISTER, POLL, REGISTER, POLL],
        ),
        (
            vec![assigning(), refused(), refused()],
            vec![REGISTER, POLL, REGISTER],
        ),
        (vec![refused()], vec![REGISTER]),
        // A 403 is not about the key.
        (vec![assigning(), answer(403, "")], vec![REGISTER, POLL]),
    ] {
        let script = Script::new(steps);
        let tpm = SoftwareTpm::from_vector();
        let error = register(&tpm, &script).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert_eq!(script.asked(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_poll_of_another_proof_is_final() {
    let script = Script::new([assigning(), answer(401, UNAUTHORIZED)]);
    let error = script.client().register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(script.asked(), [REGISTER, POLL]);
}

#[tokio::test(start_paused = true)]
async fn a_new_session_continues_the_operation() {
    let script = Script::new([
        assigning(),
        Step::Fail(ErrorKind::Connect),
        answer(200, &assigned_with_hub_key()),
    ]);
    register(&SoftwareTpm::from_vector(), &script)
        .await
        .unwrap();
    assert_eq!(script.asked(), [REGISTER, POLL, POLL]);
}
