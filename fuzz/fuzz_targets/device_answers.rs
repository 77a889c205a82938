//! The answers of DPS as a device reads them: the kind of an error depends on the status, and an assignment is the device's own.
#![no_main]

use std::sync::LazyLock;

use dps_device::ErrorKind;
use dps_device::fuzzing::{Meaning, is_record, registration};
use dps_types::{OperationId, RegistrationId};
use libfuzzer_sys::fuzz_target;

static DEVICE: LazyLock<RegistrationId> = LazyLock::new(|| "dev-1".parse().expect("an id"));
static OPERATION: LazyLock<OperationId> = LazyLock::new(|| "4.d0a671905ea5b2c8".parse().expect("an id"));

fuzz_target!(|input: (u16, &[u8])| {
    let (status, body) = input;
    for status in [status, 200, 202] {
        for operation in [None, Some(&*OPERATION)] {
            check(status, body, operation);
        }
    }
    let _ = is_record(body, &DEVICE);
});

fn check(status: u16, body: &[u8], operation: Option<&OperationId>) {
    let is_success = (200..300).contains(&status);
    match registration(status, body, operation, &DEVICE) {
        Meaning::Assigned(assignment) => {
            assert!(is_success);
            let device = &assignment.registration().registration_id;
            assert!(device.as_ref().is_none_or(|it| *it == *DEVICE));
            let _ = format!("{assignment:?}");
        }
        Meaning::Pending(_) => assert!(is_success),
        Meaning::Refused(error) => {
            assert!(!is_success);
            assert_eq!(error.status(), Some(status));
            if error.is_retryable() {
                assert!(matches!(error.kind(), ErrorKind::Service | ErrorKind::Throttled), "{error:?}");
            }
            let _ = format!("{error:#} {error:?}");
        }
        Meaning::Failed(error) => {
            assert!(is_success);
            assert_eq!(error.status(), Some(status));
            let _ = format!("{error:#} {error:?}");
        }
    }
}
