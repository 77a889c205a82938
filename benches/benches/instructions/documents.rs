//! Reading and writing each document of the protocol.

use std::hint::black_box;

use dps_benches::ALLOCATION_REQUEST;
use dps_types::device_update::{ReportStatusRequest, UpdateCheckRequest, UpdateCheckResponse};
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment, InitialTwin};
use dps_types::hub_certificate::{
    CertificateRequestAccepted, IssueCertificateRequest, IssuedCertificates,
};
use dps_types::tpm::AuthenticationKey;
use dps_types::{
    AllocationRequest, AllocationResponse, BulkEnrollmentGroupOperation, BulkEnrollmentOperation,
    BulkOperationResult, DeviceRegistrationState, ErrorDetails, QuerySpecification,
    RegistrationOperationStatus, RegistrationRequest, ServiceConnectionString, TpmChallenge, json,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::meter::Meter;

const DOCUMENTS: &str = include_str!("documents.json");
const CONNECTION_STRING: &str = "HostName=contoso.azure-devices-provisioning.net;\
    SharedAccessKeyName=provisioningserviceowner;SharedAccessKey=AAAAAAAAAAAAAAAAAAAAAA==";

pub(crate) fn measure(meter: &Meter) {
    let documents: Value = serde_json::from_str(DOCUMENTS).unwrap();
    macro_rules! measure {
        ($($document:ident),+ $(,)?) => {$({
            let name = stringify!($document);
            document::<$document>(meter, name, &documents[name]);
        })+};
    }
    measure!(
        RegistrationRequest,
        RegistrationOperationStatus,
        DeviceRegistrationState,
        TpmChallenge,
        ErrorDetails,
        IndividualEnrollment,
        EnrollmentGroup,
        InitialTwin,
        BulkEnrollmentOperation,
        BulkEnrollmentGroupOperation,
        BulkOperationResult,
        QuerySpecification,
        AllocationResponse,
        UpdateCheckRequest,
        UpdateCheckResponse,
        ReportStatusRequest,
        IssueCertificateRequest,
        CertificateRequestAccepted,
        IssuedCertificates,
    );
    let request = serde_json::from_str(ALLOCATION_REQUEST).unwrap();
    document::<AllocationRequest>(meter, "AllocationRequest", &request);

    let key = dps_hardware::vector::challenge();
    meter.count("document/AuthenticationKey/parse", || {
        AuthenticationKey::from_base64(black_box(&key)).unwrap()
    });
    let key = AuthenticationKey::from_base64(&key).unwrap();
    meter.count("document/AuthenticationKey/write", || {
        black_box(&key).to_base64()
    });
    meter.count("document/ServiceConnectionString/parse", || {
        let text: &str = black_box(CONNECTION_STRING);
        text.parse::<ServiceConnectionString>().unwrap()
    });
}

fn document<T: Serialize + DeserializeOwned>(meter: &Meter, name: &str, value: &Value) {
    let bytes = serde_json::to_vec(value).unwrap();
    meter.count(&format!("document/{name}/parse"), || {
        json::from_slice::<T>(black_box(&bytes)).unwrap()
    });
    let document: T = json::from_slice(&bytes).unwrap();
    meter.count(&format!("document/{name}/write"), || {
        serde_json::to_vec(black_box(&document)).unwrap()
    });
}
