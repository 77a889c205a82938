//! What is enrolled, how the device proves itself, and what must come of it, for every client alike.

use std::env;
use std::io::{Write, stderr};

use dps_types::enrollment::{
    AttestationMechanism, EnrollmentGroup, IndividualEnrollment, ProvisioningStatus,
};
use dps_types::{HubHostname, RegistrationId, RegistrationStatus, SymmetricKey};
use serde_json::{Value, json};

use crate::certificates::{CertificateAuthority, DeviceCertificate};
use crate::client::{Client, Outcome};
use crate::emulator::{Emulator, HEATPUMPS, TOASTERS};

const DEVICE: &str = "Toaster-007";
const GROUP: &str = "toasters";
const UNAUTHORIZED: Expected = Expected::Refused {
    status: 401,
    error_code: 401_002,
};

/// One registration.
#[derive(Debug)]
#[non_exhaustive]
pub struct Scenario {
    /// What the operator does before.
    pub enrollment: Enrollment,
    /// The device.
    pub device: RegistrationId,
    /// How it proves who it is.
    pub proof: Proof,
    /// What it sends along.
    pub payload: Option<Value>,
    /// What must come of it.
    pub expected: Expected,
}

/// What the operator enrolls.
#[derive(Debug)]
#[non_exhaustive]
pub enum Enrollment {
    /// A group of devices.
    Group(Box<EnrollmentGroup>),
    /// One device.
    Individual(Box<IndividualEnrollment>),
    /// Nothing.
    Nothing,
}

/// What the device has in hand.
#[derive(Debug)]
#[non_exhaustive]
pub enum Proof {
    /// A certificate with its chain, and its key.
    Certificate(DeviceCertificate),
    /// A key of its own.
    Key(SymmetricKey),
}

/// What must come of it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Expected {
    /// The device gets this hub, under this name, and it is the first time.
    Assigned {
        /// The hub.
        hub: &'static str,
        /// The name.
        device_id: &'static str,
    },
    /// The service knows the device and does not let it in.
    Disabled,
    /// The service does not believe the device.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The service's code.
        error_code: u32,
    },
}

impl Scenario {
    /// An individual enrollment with symmetric keys, and another name in the hub.
    pub fn individual_key() -> Self {
        let (enrollment, key) = keyed();
        let enrollment = enrollment
            .with_device_id("kitchen".parse().expect("valid"))
            .allocate_to(hub(HEATPUMPS));
        Self::new(enrollment, Proof::Key(key)).assigned(HEATPUMPS, "kitchen")
    }

    /// The same device tells about itself. Without a webhook nobody answers.
    pub fn individual_key_with_payload() -> Self {
        Self {
            payload: Some(json!({"model": "toaster", "slots": [1, 2], "unit": "°C"})),
            ..Self::individual_key()
        }
    }

    /// A group with a symmetric key, from which the device's is derived.
    pub fn group_key() -> Self {
        let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
        let key = primary.derive_device_key(&device());
        Self::grouped(
            AttestationMechanism::from_keys(&primary, &secondary),
            Proof::Key(key),
        )
    }

    /// An individual enrollment of exactly the certificate that the device shows.
    pub fn individual_certificate() -> Self {
        let certificate = DeviceCertificate::self_signed(DEVICE);
        let enrollment =
            IndividualEnrollment::client_certificate(device(), certificate.chain.clone())
                .allocate_to(hub(TOASTERS));
        Self::new(enrollment, Proof::Certificate(certificate)).assigned(TOASTERS, DEVICE)
    }

    /// A group with a root; the device shows the intermediate between them.
    pub fn group_certificate_by_root() -> Self {
        let (root, intermediate) = authorities();
        let certificate = intermediate.device(DEVICE).with(&intermediate);
        Self::signed_by(&root, certificate)
    }

    /// A group with the intermediate that signed the device.
    pub fn group_certificate_by_intermediate() -> Self {
        let (_, intermediate) = authorities();
        let certificate = intermediate.device(DEVICE).with(&intermediate);
        Self::signed_by(&intermediate, certificate)
    }

    /// A group with a root; the device keeps the intermediate to itself.
    pub fn group_certificate_without_its_intermediate() -> Self {
        let (root, intermediate) = authorities();
        Self {
            expected: UNAUTHORIZED,
            ..Self::signed_by(&root, intermediate.device(DEVICE))
        }
    }

    /// A key that is not the device's.
    pub fn wrong_key() -> Self {
        let (enrollment, _) = keyed();
        Self::new(enrollment, Proof::Key(SymmetricKey::generate()))
    }

    /// A device that nobody enrolled.
    pub fn unknown_device() -> Self {
        Self {
            enrollment: Enrollment::Nothing,
            ..Self::wrong_key()
        }
    }

    /// A device that the operator has locked out, with the right key.
    pub fn disabled_enrollment() -> Self {
        let (enrollment, key) = keyed();
        let enrollment = enrollment.with_provisioning_status(ProvisioningStatus::Disabled);
        Self {
            expected: Expected::Disabled,
            ..Self::new(enrollment, Proof::Key(key))
        }
    }

    fn new(enrollment: IndividualEnrollment, proof: Proof) -> Self {
        Self {
            enrollment: Enrollment::Individual(Box::new(enrollment)),
            device: device(),
            proof,
            payload: None,
            expected: UNAUTHORIZED,
        }
    }

    fn signed_by(authority: &CertificateAuthority, certificate: DeviceCertificate) -> Self {
        Self::grouped(
            AttestationMechanism::signing_certificate(authority.pem()),
            Proof::Certificate(certificate),
        )
    }

    fn grouped(attestation: AttestationMechanism, proof: Proof) -> Self {
        let id = GROUP.parse().expect("valid");
        let group = EnrollmentGroup::new(id, attestation).allocate_to(hub(HEATPUMPS));
        let expected = Expected::Assigned {
            hub: HEATPUMPS,
            device_id: DEVICE,
        };
        Self {
            enrollment: Enrollment::Group(Box::new(group)),
            device: device(),
            proof,
            payload: None,
            expected,
        }
    }

    fn assigned(self, hub: &'static str, device_id: &'static str) -> Self {
        Self {
            expected: Expected::Assigned { hub, device_id },
            ..self
        }
    }

    async fn enroll(&self, emulator: &Emulator) {
        let dps = emulator.service();
        let enrolled = match &self.enrollment {
            Enrollment::Group(group) => dps.enrollment_groups().create(group).await.map(drop),
            Enrollment::Individual(enrollment) => dps
                .individual_enrollments()
                .create(enrollment)
                .await
                .map(drop),
            Enrollment::Nothing => Ok(()),
        };
        enrolled.expect("the operator can enroll");
    }

    fn check(&self, outcome: &Outcome) {
        match (&self.expected, outcome) {
            (
                Expected::Assigned { hub, device_id },
                Outcome::Assigned {
                    assigned_hub,
                    device_id: named,
                    substatus,
                    payload,
                    ..
                },
            ) => {
                assert_eq!((assigned_hub.as_str(), named.as_str()), (*hub, *device_id));
                assert_eq!(substatus.as_deref(), Some("initialAssignment"));
                assert_eq!(*payload, None);
            }
            (
                Expected::Refused { status, error_code },
                Outcome::Error {
                    status: answered,
                    error_code: code,
                    ..
                },
            ) => assert_eq!(
                (*answered, *code),
                (Some(*status), Some(*error_code)),
                "{outcome:?}"
            ),
            (
                Expected::Disabled,
                Outcome::Error {
                    body: Some(body), ..
                },
            ) => {
                assert_eq!(body["status"], "disabled", "{outcome:?}");
                assert_eq!(body["registrationState"]["status"], "disabled");
            }
            _ => panic!("{:?} was expected, not {outcome:?}", self.expected),
        }
    }

    /// That the operator sees what the device was told.
    async fn check_record(&self, emulator: &Emulator) {
        let Expected::Assigned { hub, device_id } = &self.expected else {
            return;
        };
        let record = emulator.service().registrations().get(&self.device).await;
        let record = record.expect("a registration record");
        assert_eq!(record.status, Some(RegistrationStatus::Assigned));
        assert_eq!(record.assigned_hub, Some(self::hub(hub)));
        assert_eq!(record.device_id.expect("a name").as_str(), *device_id);
    }
}

/// Enrolls, registers with the client, and checks, against an emulator of its own.
///
/// # Panics
/// When something is not as expected.
pub async fn run(client: &Client, scenario: Scenario) {
    if env::var_os("DPS_INTEROP").is_none_or(|value| value != "1") {
        // Not eprintln!: the test runner would keep it to itself.
        let _ = writeln!(stderr(), "SKIPPED, not tested: set DPS_INTEROP=1");
        return;
    }
    let emulator = Emulator::start().await;
    scenario.enroll(&emulator).await;
    let outcome = client.register(&emulator, &scenario).await;
    scenario.check(&outcome);
    scenario.check_record(&emulator).await;
    emulator.stop().await;
}

/// An individual enrollment with keys, and the first of them.
fn keyed() -> (IndividualEnrollment, SymmetricKey) {
    let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
    let enrollment = IndividualEnrollment::from_keys(device(), &primary, &secondary);
    (enrollment, primary)
}

/// A root and an intermediate that it signed.
fn authorities() -> (CertificateAuthority, CertificateAuthority) {
    let root = CertificateAuthority::root("Toasters Root CA");
    let intermediate = root.intermediate("Toasters Factory CA");
    (root, intermediate)
}

fn device() -> RegistrationId {
    DEVICE.parse().expect("valid")
}

fn hub(name: &str) -> HubHostname {
    name.parse().expect("valid")
}
