//! The scenarios: enrollment, device, attestation and expected result, the same for every client.

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

/// One registration and its expected result.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The enrollment that is created first.
    pub enrollment: Enrollment,
    /// The registration id.
    pub device: RegistrationId,
    /// The device's credentials.
    pub proof: Proof,
    /// The payload of the registration.
    pub payload: Option<Value>,
    /// The webhook that chooses the hub and answers the payload.
    pub webhook: Option<EchoWebhook>,
    /// The expected result.
    pub expected: Expected,
}

/// The enrollment of a scenario.
#[derive(Debug)]
pub(crate) enum Enrollment {
    /// An enrollment group.
    Group(Box<EnrollmentGroup>),
    /// An individual enrollment.
    Individual(Box<IndividualEnrollment>),
    /// No enrollment.
    Nothing,
}

/// The credentials of a device.
#[derive(Debug)]
pub(crate) enum Proof {
    /// A certificate chain and its private key.
    Certificate(DeviceCertificate),
    /// The device's symmetric key.
    Key(SymmetricKey),
    /// A TPM.
    Tpm(Box<TpmDevice>),
}

/// The expected result.
#[derive(Debug)]
pub(crate) enum Expected {
    /// An initial assignment to this hub with this device id.
    Assigned {
        /// The assigned hub.
        hub: &'static str,
        /// The device id.
        device_id: &'static str,
    },
    /// The enrollment is disabled.
    Disabled,
    /// The registration is accepted and the operation fails with this code.
    Failed {
        /// The service's error code.
        error_code: u32,
    },
    /// The service refuses the device's credentials.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The service's error code.
        error_code: u32,
    },
}

impl Scenario {
    /// An individual enrollment with symmetric keys and a device id that differs from the registration id.
    pub(crate) fn individual_key() -> Self {
        let (enrollment, key) = keyed();
        let enrollment = enrollment
            .with_device_id("kitchen".parse().expect("valid"))
            .allocate_to(hub(HEATPUMPS));
        Self::new(enrollment, Proof::Key(key)).assigned(HEATPUMPS, "kitchen")
    }

    /// The device sends a payload. Without a webhook the answer has no payload.
    pub(crate) fn individual_key_with_payload() -> Self {
        Self {
            payload: Some(about_itself()),
            ..Self::individual_key()
        }
    }

    /// The device sends a payload, and a webhook returns it.
    pub(crate) fn payload_both_ways() -> Self {
        let webhook = EchoWebhook::bind(hub(TOASTERS));
        let (enrollment, key) = keyed();
        let enrollment = enrollment.allocate_by_webhook(webhook.url());
        Self {
            payload: Some(about_itself()),
            webhook: Some(webhook),
            ..Self::new(enrollment, Proof::Key(key)).assigned(TOASTERS, DEVICE)
        }
    }

    /// The webhook that chooses the hub cannot be reached.
    pub(crate) fn failed_webhook() -> Self {
        let (enrollment, key) = keyed();
        // Nothing listens on the port of the discard protocol.
        let enrollment = enrollment.allocate_by_webhook("http://127.0.0.1:9/allocate");
        Self {
            expected: Expected::Failed {
                error_code: 400_207,
            },
            ..Self::new(enrollment, Proof::Key(key))
        }
    }

    /// A group with a symmetric key; the device has the derived key.
    pub(crate) fn group_key() -> Self {
        let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
        let key = primary.derive_device_key(&device());
        Self::grouped(
            EnrollmentGroup::from_keys(group_id(), &primary, &secondary),
            Proof::Key(key),
        )
    }

    /// An individual enrollment with the device's own certificate.
    pub(crate) fn individual_certificate() -> Self {
        let certificate = DeviceCertificate::self_signed(DEVICE);
        let enrollment =
            IndividualEnrollment::client_certificate(device(), certificate.chain.clone())
                .allocate_to(hub(TOASTERS));
        Self::new(enrollment, Proof::Certificate(certificate)).assigned(TOASTERS, DEVICE)
    }

    /// A group with a root certificate; the device presents the intermediate certificate.
    pub(crate) fn group_certificate_by_root() -> Self {
        let (root, intermediate) = authorities();
        let certificate = intermediate.device(DEVICE).with(&intermediate);
        Self::signed_by(&root, certificate)
    }

    /// A group with the intermediate certificate that signed the device's.
    pub(crate) fn group_certificate_by_intermediate() -> Self {
        let (_, intermediate) = authorities();
        let certificate = intermediate.device(DEVICE).with(&intermediate);
        Self::signed_by(&intermediate, certificate)
    }

    /// A group with a root certificate; the device does not present the intermediate.
    pub(crate) fn group_certificate_without_its_intermediate() -> Self {
        let (root, intermediate) = authorities();
        Self {
            expected: UNAUTHORIZED,
            ..Self::signed_by(&root, intermediate.device(DEVICE))
        }
    }

    /// The device has a wrong key.
    pub(crate) fn wrong_key() -> Self {
        let (enrollment, _) = keyed();
        Self::new(enrollment, Proof::Key(SymmetricKey::generate()))
    }

    /// A device without an enrollment.
    pub(crate) fn unknown_device() -> Self {
        Self {
            enrollment: Enrollment::Nothing,
            ..Self::wrong_key()
        }
    }

    /// A device with the right key and a disabled enrollment.
    pub(crate) fn disabled_enrollment() -> Self {
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

    /// The same scenario with a hub that the device can reach, and an initial twin.
    pub(crate) fn on_reachable_hub(mut self) -> Self {
        let reachable = hub(LOCALHOST);
        let twin = InitialTwin::desired([("darkness", "medium")]).with_tags([("floor", "ground")]);
        self.enrollment = match self.enrollment {
            Enrollment::Group(group) => Enrollment::Group(Box::new(
                group.allocate_to(reachable).with_initial_twin(twin),
            )),
            Enrollment::Individual(one) => {
                Enrollment::Individual(Box::new(one.allocate_to(reachable).with_initial_twin(twin)))
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

/// An individual enrollment with keys, and its primary key.
fn keyed() -> (IndividualEnrollment, SymmetricKey) {
    let (primary, secondary) = (SymmetricKey::generate(), SymmetricKey::generate());
    let enrollment = IndividualEnrollment::from_keys(device(), &primary, &secondary);
    (enrollment, primary)
}

/// A payload with a character that is not ASCII.
pub(crate) fn about_itself() -> Value {
    json!({"model": "toaster", "slots": [1, 2], "unit": "°C"})
}

/// A root certificate and an intermediate that it signed.
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
