//! The differences between the two kinds of enrollment on the command line.

use clap::Args;
use dps_service::{
    EnrollmentGroup, EnrollmentKind, Enrollments, IndividualEnrollment, ServiceClient,
};
use dps_types::DeviceId;
use serde_json::{Map, Value, json};

use crate::failure::Result;
use crate::input::{self, InputFile};
use crate::output::Column;

/// A kind of enrollment.
pub(crate) trait Kind: Args + Send + Sync + 'static {
    /// The document.
    type Document: EnrollmentKind;
    /// The field with the id.
    const ID: &'static str;
    /// Whether X.509 attestation names a certificate that signs those of the devices.
    const SIGNS: bool;
    const COLUMNS: &'static [Column];

    fn of(client: &ServiceClient) -> Enrollments<'_, Self::Document>;
    fn parse_id(text: &str) -> Result<<Self::Document as EnrollmentKind>::Id>;
    /// The type and the member of the attestation, if an option that only this kind has selects it.
    fn attestation(&self) -> Result<Option<Value>>;
    /// Writes the other options that only this kind has.
    fn apply(&self, document: &mut Map<String, Value>);
}

/// The options of individual enrollments.
#[derive(Args)]
pub(crate) struct Individual {
    /// Id of the device at its hub; the registration id by default
    #[arg(long, value_name = "ID")]
    device_id: Option<DeviceId>,
    /// TPM attestation: file with the endorsement key in base64; - for stdin
    #[arg(long, value_name = "FILE", group = "attestation_option")]
    endorsement_key_file: Option<InputFile>,
}

/// The options of enrollment groups.
#[derive(Args)]
pub(crate) struct Group {
    /// X.509 attestation: name of the CA certificate in the instance that signs the certificates of the devices
    #[arg(long, value_name = "NAME", group = "attestation_option")]
    ca: Option<String>,
    /// Name of the CA certificate that replaces the first one
    #[arg(long, value_name = "NAME", requires = "ca")]
    secondary_ca: Option<String>,
}

impl Kind for Individual {
    type Document = IndividualEnrollment;
    const ID: &'static str = "registrationId";
    const SIGNS: bool = false;
    const COLUMNS: &'static [Column] = &[
        ("REGISTRATION ID", "/registrationId"),
        ("DEVICE ID", "/deviceId"),
        ("ATTESTATION", "/attestation/type"),
        ("STATUS", "/provisioningStatus"),
        ("ALLOCATION", "/allocationPolicy"),
        ("HUBS", "/iotHubs"),
        ("REGISTRATION", "/registrationState/status"),
    ];

    fn of(client: &ServiceClient) -> Enrollments<'_, IndividualEnrollment> {
        client.individual_enrollments()
    }

    fn parse_id(text: &str) -> Result<dps_types::RegistrationId> {
        Ok(text.parse()?)
    }

    fn attestation(&self) -> Result<Option<Value>> {
        let Some(file) = &self.endorsement_key_file else {
            return Ok(None);
        };
        let key = input::read_text(file)?;
        Ok(Some(
            json!({"type": "tpm", "tpm": {"endorsementKey": key.trim()}}),
        ))
    }

    fn apply(&self, document: &mut Map<String, Value>) {
        if let Some(id) = &self.device_id {
            document.insert("deviceId".into(), id.as_str().into());
        }
    }
}

impl Kind for Group {
    type Document = EnrollmentGroup;
    const ID: &'static str = "enrollmentGroupId";
    const SIGNS: bool = true;
    const COLUMNS: &'static [Column] = &[
        ("ENROLLMENT GROUP ID", "/enrollmentGroupId"),
        ("ATTESTATION", "/attestation/type"),
        ("STATUS", "/provisioningStatus"),
        ("ALLOCATION", "/allocationPolicy"),
        ("HUBS", "/iotHubs"),
    ];

    fn of(client: &ServiceClient) -> Enrollments<'_, EnrollmentGroup> {
        client.enrollment_groups()
    }

    fn parse_id(text: &str) -> Result<dps_types::EnrollmentGroupId> {
        Ok(text.parse()?)
    }

    fn attestation(&self) -> Result<Option<Value>> {
        let Some(primary) = &self.ca else {
            return Ok(None);
        };
        let references = json!({"primary": primary, "secondary": self.secondary_ca});
        Ok(Some(
            json!({"type": "x509", "x509": {"caReferences": references}}),
        ))
    }

    fn apply(&self, _: &mut Map<String, Value>) {}
}
