//! Many enrollments in one request.

use dps_types::{BulkOperationError, BulkOperationResult, ErrorCode};

use crate::same;

#[test]
fn each_item_that_failed_is_named() {
    let read: BulkOperationResult = same(
        r#"{"errors":[{"registrationId":"a","errorCode":409201,"errorStatus":"Enrollment already exists."},{"enrollmentGroupId":"g","errorCode":404202,"errorStatus":"Gone."}],"isSuccessful":false}"#,
    );
    let made = BulkOperationResult::new(vec![
        BulkOperationError::enrollment(
            "a".parse().unwrap(),
            ErrorCode::ENROLLMENT_EXISTS,
            "Enrollment already exists.",
        ),
        BulkOperationError::group(
            "g".parse().unwrap(),
            ErrorCode::ENROLLMENT_GROUP_NOT_FOUND,
            "Gone.",
        ),
    ]);
    assert_eq!(made, read);
    let success: BulkOperationResult = same(r#"{"errors":[],"isSuccessful":true}"#);
    assert_eq!(BulkOperationResult::new(Vec::new()), success);
}
