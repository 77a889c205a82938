//! Bulk operations: at most ten enrollments in one request, each of which succeeds or fails independently.

use crate::enrollment::{EnrollmentGroup, IndividualEnrollment};
use crate::{EnrollmentGroupId, ErrorCode, RegistrationId};

open_enum! {
    /// The operation on each item of a bulk operation.
    pub enum BulkOperationMode {
        /// Creates; an existing item is an error.
        Create = "create",
        /// Overwrites, under the condition of the item's own ETag.
        Update = "update",
        /// Overwrites when the item's ETag is the current one.
        UpdateIfMatchETag = "updateIfMatchETag",
        /// Deletes.
        Delete = "delete",
    }
}

lossless! {
    /// `POST /enrollments`: a bulk operation on individual enrollments.
    pub struct BulkEnrollmentOperation {
        /// The items, at most ten.
        enrollments: Vec<IndividualEnrollment> = "enrollments",
        /// The operation on each item.
        mode: BulkOperationMode = "mode",
    }
}

lossless! {
    /// `POST /enrollmentGroups`: a bulk operation on enrollment groups (api-version 2021-10-01 and later).
    pub struct BulkEnrollmentGroupOperation {
        /// The items, at most ten.
        enrollment_groups: Vec<EnrollmentGroup> = "enrollmentGroups",
        /// The operation on each item.
        mode: BulkOperationMode = "mode",
    }
}

lossless! {
    /// The response to a bulk operation. Its status is HTTP 200 also when items failed.
    pub struct BulkOperationResult {
        /// The items that failed.
        errors: Vec<BulkOperationError> = "errors",
        /// True if every item succeeded.
        is_successful: bool = "isSuccessful",
    }
}

lossless! {
    /// The failure of one item of a bulk operation.
    pub struct BulkOperationError {
        /// The individual enrollment that failed.
        registration_id: Option<RegistrationId> = "registrationId",
        /// The enrollment group that failed.
        enrollment_group_id: Option<EnrollmentGroupId> = "enrollmentGroupId",
        /// The service's error code.
        error_code: ErrorCode = "errorCode",
        /// The service's message.
        error_status: String = "errorStatus",
    }
}

impl BulkEnrollmentOperation {
    /// Creates an operation with this mode on each of the enrollments.
    pub fn new(mode: BulkOperationMode, enrollments: Vec<IndividualEnrollment>) -> Self {
        Self {
            enrollments,
            mode,
            extra: Default::default(),
        }
    }
}

impl BulkEnrollmentGroupOperation {
    /// Creates an operation with this mode on each of the groups.
    pub fn new(mode: BulkOperationMode, enrollment_groups: Vec<EnrollmentGroup>) -> Self {
        Self {
            enrollment_groups,
            mode,
            extra: Default::default(),
        }
    }
}

impl BulkOperationResult {
    /// Creates a result with these failures; an empty list is a success.
    pub fn new(errors: Vec<BulkOperationError>) -> Self {
        Self {
            is_successful: errors.is_empty(),
            errors,
            extra: Default::default(),
        }
    }
}

impl BulkOperationError {
    /// Creates the failure of this individual enrollment.
    pub fn enrollment(
        registration_id: RegistrationId,
        error_code: ErrorCode,
        error_status: impl Into<String>,
    ) -> Self {
        Self {
            registration_id: Some(registration_id),
            ..Self::new(error_code, error_status.into())
        }
    }

    /// Creates the failure of this enrollment group.
    pub fn group(
        enrollment_group_id: EnrollmentGroupId,
        error_code: ErrorCode,
        error_status: impl Into<String>,
    ) -> Self {
        Self {
            enrollment_group_id: Some(enrollment_group_id),
            ..Self::new(error_code, error_status.into())
        }
    }

    fn new(error_code: ErrorCode, error_status: String) -> Self {
        Self {
            registration_id: None,
            enrollment_group_id: None,
            error_code,
            error_status,
            extra: Default::default(),
        }
    }
}
