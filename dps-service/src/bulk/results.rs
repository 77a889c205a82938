//! Maps the answer to a bulk request to a result for each item.

use dps_types::{BulkOperationError, BulkOperationMode, BulkOperationResult, ErrorDetails};

use crate::enrollment_kind::EnrollmentKind;
use crate::error::{Error, ErrorKind};

/// The items of a request that has an answer.
pub(crate) struct Sent<'a, E> {
    pub(crate) items: &'a [E],
    pub(crate) mode: &'a BulkOperationMode,
    /// True if an earlier attempt may have been carried out although its answer was lost.
    pub(crate) in_doubt: bool,
}

impl<E: EnrollmentKind> Sent<'_, E> {
    /// Returns a result for each item, in their order.
    pub(crate) fn results(&self, answer: &BulkOperationResult) -> Vec<Result<(), Error>> {
        let mut results: Vec<Option<Error>> = vec![None; self.items.len()];
        let mut is_complete = answer.is_successful || !answer.errors.is_empty();
        for error in &answer.errors {
            let index = self.index_of(error, &results);
            match index.and_then(|index| results.get_mut(index)) {
                Some(result) => *result = Some(self.failure(error)),
                None => is_complete = false,
            }
        }
        let unclear = || {
            let message = "the service reports a failure without naming the item";
            Error::new(ErrorKind::Protocol, message).in_doubt_if(true)
        };
        let results = results.into_iter().map(|failure| match failure {
            Some(error) if self.is_done_already(&error) => Ok(()),
            Some(error) => Err(error),
            None if is_complete => Ok(()),
            None => Err(unclear()),
        });
        results.collect()
    }

    /// Finds the item that failed. Of several items with one id it is the last, which conflicts with the earlier ones.
    fn index_of(&self, error: &BulkOperationError, results: &[Option<Error>]) -> Option<usize> {
        let id = E::id_of(error)?;
        let mut items = self.items.iter().zip(results);
        items.rposition(|(item, result)| result.is_none() && item.id() == id)
    }

    fn failure(&self, error: &BulkOperationError) -> Error {
        let status = error.error_code.http_status();
        let kind = ErrorKind::of_status(status);
        let may_be_ours = matches!(kind, ErrorKind::Conflict | ErrorKind::PreconditionFailed);
        let details = ErrorDetails::new(error.error_code, error.error_status.as_str());
        Error::new(kind, "the service refused the item")
            .with_status(status)
            .with_details(Some(details))
            .in_doubt_if(self.in_doubt && (may_be_ours || self.is_deleted(kind)))
    }

    /// If an earlier attempt may have been carried out, "not found" means that it deleted the item.
    fn is_done_already(&self, error: &Error) -> bool {
        error.is_in_doubt() && self.is_deleted(error.kind())
    }

    fn is_deleted(&self, kind: ErrorKind) -> bool {
        *self.mode == BulkOperationMode::Delete && kind == ErrorKind::NotFound
    }
}

#[cfg(test)]
mod tests {
    use dps_types::enrollment::EnrollmentGroup;
    use proptest::prelude::*;

    use super::*;

    fn groups(ids: &[&str]) -> Vec<EnrollmentGroup> {
        let group = |id: &&str| EnrollmentGroup::symmetric_key(id.parse().unwrap());
        ids.iter().map(group).collect()
    }

    /// The kind of each result, and whether it is in doubt; `None` means a success.
    fn kinds(
        ids: &[&str],
        mode: &BulkOperationMode,
        in_doubt: bool,
        answer: &str,
    ) -> Vec<Option<(ErrorKind, bool)>> {
        let items = groups(ids);
        let sent = Sent {
            items: &items,
            mode,
            in_doubt,
        };
        let results = sent.results(&serde_json::from_str(answer).unwrap());
        let kind = |result: Result<(), Error>| result.err().map(|e| (e.kind(), e.is_in_doubt()));
        results.into_iter().map(kind).collect()
    }

    const EXISTS: Option<(ErrorKind, bool)> = Some((ErrorKind::Conflict, false));
    const UNCLEAR: Option<(ErrorKind, bool)> = Some((ErrorKind::Protocol, true));

    #[test]
    fn each_error_is_mapped_to_its_item_in_any_order_and_case() {
        let answer = r#"{"errors":[
            {"enrollmentGroupId":"C","errorCode":400004,"errorStatus":"No."},
            {"enrollmentGroupId":"a","errorCode":409202,"errorStatus":"EnrollmentGroup already exists."}
        ],"isSuccessful":false}"#;
        let found = kinds(&["a", "b", "c"], &BulkOperationMode::Create, false, answer);
        assert_eq!(found, [EXISTS, None, Some((ErrorKind::Invalid, false))]);
    }

    #[test]
    fn of_two_items_with_one_id_the_second_conflicts() {
        let answer = r#"{"errors":[{"enrollmentGroupId":"a","errorCode":409202,"errorStatus":"EnrollmentGroup already exists."}],"isSuccessful":false}"#;
        let found = kinds(&["a", "b", "a"], &BulkOperationMode::Create, false, answer);
        assert_eq!(found, [None, None, EXISTS]);
    }

    #[test]
    fn after_a_failure_without_an_item_no_item_is_a_success() {
        for answer in [
            r#"{"errors":[],"isSuccessful":false}"#,
            r#"{"errors":[{"enrollmentGroupId":"z","errorCode":400004,"errorStatus":"No."}],"isSuccessful":false}"#,
            r#"{"errors":[{"registrationId":"a","errorCode":400004,"errorStatus":"No."}],"isSuccessful":false}"#,
        ] {
            let found = kinds(&["a", "b"], &BulkOperationMode::Create, false, answer);
            assert_eq!(found, [UNCLEAR, UNCLEAR], "{answer}");
        }
    }

    #[test]
    fn after_a_lost_answer_a_conflict_is_in_doubt_and_a_missing_item_is_deleted() {
        let answer = |code| {
            format!(
                r#"{{"errors":[{{"enrollmentGroupId":"a","errorCode":{code},"errorStatus":"No."}}],"isSuccessful":false}}"#
            )
        };
        for (mode, code, doubt, expected) in [
            (
                BulkOperationMode::Create,
                409_202,
                true,
                Some((ErrorKind::Conflict, true)),
            ),
            (
                BulkOperationMode::Update,
                412_001,
                true,
                Some((ErrorKind::PreconditionFailed, true)),
            ),
            (
                BulkOperationMode::Update,
                404_202,
                true,
                Some((ErrorKind::NotFound, false)),
            ),
            (
                BulkOperationMode::Create,
                400_004,
                true,
                Some((ErrorKind::Invalid, false)),
            ),
            (BulkOperationMode::Delete, 404_202, true, None),
            (
                BulkOperationMode::Delete,
                404_202,
                false,
                Some((ErrorKind::NotFound, false)),
            ),
        ] {
            assert_eq!(
                kinds(&["a"], &mode, doubt, &answer(code)),
                [expected],
                "{mode} {code}"
            );
        }
    }

    #[test]
    fn the_error_details_of_the_service_are_kept() {
        let items = groups(&["a"]);
        let sent = Sent {
            items: &items,
            mode: &BulkOperationMode::Create,
            in_doubt: false,
        };
        let answer = r#"{"errors":[{"enrollmentGroupId":"a","errorCode":409202,"errorStatus":"EnrollmentGroup already exists."}],"isSuccessful":false}"#;
        let results = sent.results(&serde_json::from_str(answer).unwrap());
        let error = results[0].clone().unwrap_err();
        assert_eq!(error.status(), Some(409));
        let details = error.error_details().unwrap();
        assert_eq!(
            details.message.as_deref(),
            Some("EnrollmentGroup already exists.")
        );
        assert_eq!(details.error_code.unwrap().get(), 409_202);
    }

    proptest! {
        #[test]
        fn exactly_the_items_that_the_answer_names_fail(failed in prop::collection::vec(any::<bool>(), 1..=10)) {
            let names: Vec<String> = (0..failed.len()).map(|n| format!("g{n}")).collect();
            let ids: Vec<&str> = names.iter().map(String::as_str).collect();
            let errors: Vec<String> = ids.iter().zip(&failed).rev().filter(|(_, failed)| **failed)
                .map(|(id, _)| format!(r#"{{"enrollmentGroupId":"{id}","errorCode":409202,"errorStatus":"No."}}"#))
                .collect();
            let answer = format!(r#"{{"errors":[{}],"isSuccessful":{}}}"#, errors.join(","), errors.is_empty());
            let found = kinds(&ids, &BulkOperationMode::Create, false, &answer);
            let expected: Vec<_> = failed.iter().map(|failed| failed.then_some((ErrorKind::Conflict, false))).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
