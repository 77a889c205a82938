//! What is enrolled, how the device proves itself, and what must come of it, for every client alike.

use dps_types::enrollment::{
    EnrollmentGroup, IndividualEnrollment, InitialTwin, ProvisioningStatus,
};
use dps_types::{EnrollmentGroupId, HubHostname, RegistrationId, SymmetricKey};
use serde_json::{Value, json};

use crate::certificates::{CertificateAuthority, DeviceCertificate};
use crate::emulator::{HEATPUMPS, LOCALHOST, TOASTERS};
use crate::tpm::TpmDevice;
use crate::webhook::EchoWebhook;

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
    /// What answers it, and picks the hub.
    pub webhook: Option<EchoWebhook>,
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
    /// A TPM.
    Tpm(Box<TpmDevice>),
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
    /// The service does not know the device, and says so when it is asked for the hub.
    Failed {
        /// The service's code.
        error_code: u32,
    },
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
            payload: Some(about_itself()),
            ..Self::individual_key()
        }
    }

    /// The same device tells about itself, and a webhook says it back.
    pub fn payload_both_ways() -> Self {
        let webhook = EchoWebhook::bind(hub(TOASTERS));
        let (enrollment, key) = keyed();
        let enrollment = enrollment.allocate_by_webhook(webhook.url());
        Self {
            payload: Some(about_itself()),
            webhook: Some(webhook),
            ..Self::new(enrollment, Proof::Key(key)).assigned(TOASTERS, DEVICE)
        }
    }

    /// A group with a symmetric key, from which the device's is derived.
    pub fn group_key() -> Self {
        let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
        let key = primary.derive_device_key(&device());
        Self::grouped(
            EnrollmentGroup::from_keys(group_id(), &primary, &secondary),
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

    pub(crate) fn new(enrollment: IndividualEnrollment, proof: Proof) -> Self {
        Self {
            enrollment: Enrollment::Individual(Box::new(enrollment)),
            device: device(),
            proof,
            payload: None,
            webhook: None,
            expected: UNAUTHORIZED,
        }
    }

    /// The same on a hub that the device can go to, with a twin to start with.
    pub(crate) fn at_home(mut self) -> Self {
        let home = hub(LOCALHOST);
        let twin = InitialTwin::desired([("darkness", "medium")]).with_tags([("floor", "ground")]);
        self.enrollment = match self.enrollment {
            Enrollment::Group(group) => {
                Enrollment::Group(Box::new(group.allocate_to(home).with_initial_twin(twin)))
            }
            Enrollment::Individual(one) => {
                Enrollment::Individual(Box::new(one.allocate_to(home).with_initial_twin(twin)))
            }
            Enrollment::Nothing => Enrollment::Nothing,
        };
        if let Expected::Assigned { hub, .. } = &mut self.expected {
            *hub = LOCALHOST;
        }
        self
    }

    fn signed_by(authority: &CertificateAuthority, certificate: DeviceCertificate) -> Self {
        Self::grouped(
            EnrollmentGroup::signing_certificate(group_id(), authority.pem()),
            Proof::Certificate(certificate),
        )
    }

    fn grouped(group: EnrollmentGroup, proof: Proof) -> Self {
        let group = group.allocate_to(hub(HEATPUMPS));
        let expected = Expected::Assigned {
            hub: HEATPUMPS,
            device_id: DEVICE,
        };
        Self {
            enrollment: Enrollment::Group(Box::new(group)),
            device: device(),
            proof,
            payload: None,
            webhook: None,
            expected,
        }
    }

    pub(crate) fn assigned(self, hub: &'static str, device_id: &'static str) -> Self {
        Self {
            expected: Expected::Assigned { hub, device_id },
            ..self
        }
    }
}

/// An individual enrollment with keys, and the first of them.
fn keyed() -> (IndividualEnrollment, SymmetricKey) {
    let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
    let enrollment = IndividualEnrollment::from_keys(device(), &primary, &secondary);
    (enrollment, primary)
}

/// With a sign that is not ASCII.
pub(crate) fn about_itself() -> Value {
    json!({"model": "toaster", "slots": [1, 2], "unit": "°C"})
}

/// A root and an intermediate that it signed.
fn authorities() -> (CertificateAuthority, CertificateAuthority) {
    let root = CertificateAuthority::root("Toasters Root CA");
    let intermediate = root.intermediate("Toasters Factory CA");
    (root, intermediate)
}

fn group_id() -> EnrollmentGroupId {
    GROUP.parse().expect("valid")
}

fn device() -> RegistrationId {
    DEVICE.parse().expect("valid")
}

pub(crate) fn hub(name: &str) -> HubHostname {
    name.parse().expect("valid")
}
