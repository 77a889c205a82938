//! What the answer to a bulk operation says of each item.

use dps_types::{BulkOperationError, BulkOperationMode, BulkOperationResult, ErrorDetails};

use crate::error::{Error, ErrorKind};
use crate::kind::EnrollmentKind;

/// The items of a request that was answered.
pub(crate) struct Sent<'a, E> {
    pub(crate) items: &'a [E],
    pub(crate) mode: &'a BulkOperationMode,
    /// Whether an attempt before the answered one may have been carried out.
    pub(crate) in_doubt: bool,
}

impl<E: EnrollmentKind> Sent<'_, E> {
    /// A result for each item, in their order.
    pub(crate) fn results(&self, answer: &BulkOperationResult) -> Vec<Result<(), Error>> {
        let mut results: Vec<Option<Error>> = vec![None; self.items.len()];
        let mut accounted = answer.is_successful || !answer.errors.is_empty();
        for error in &answer.errors {
            match self.place(error, &results) {
                Some(place) => results[place] = Some(self.failure(error)),
                None => accounted = false,
            }
        }
        let unclear = || {
            let what = "the service reports a failure and does not say of which item";
            Error::new(ErrorKind::Protocol, what).in_doubt_if(true)
        };
        let settled = results.into_iter().map(|failure| match failure {
            Some(error) if self.is_done_already(&error) => Ok(()),
            Some(error) => Err(error),
            None if accounted => Ok(()),
            None => Err(unclear()),
        });
        settled.collect()
    }

    /// The item that failed. Of several with one id, the last comes first: it is the one that finds the others' work.
    fn place(&self, error: &BulkOperationError, results: &[Option<Error>]) -> Option<usize> {
        let id = E::id_of(error)?;
        (0..self.items.len())
            .rev()
            .find(|&place| results[place].is_none() && self.items[place].id() == id)
    }

    fn failure(&self, error: &BulkOperationError) -> Error {
        let status = error.error_code.http_status();
        let kind = ErrorKind::of_status(status);
        let ours = matches!(kind, ErrorKind::Conflict | ErrorKind::PreconditionFailed);
        let details = ErrorDetails::new(error.error_code, error.error_status.as_str());
        Error::new(kind, "the service refused the item")
            .with_status(status)
            .with_details(Some(details))
            .in_doubt_if(self.in_doubt && (ours || self.is_gone(kind)))
    }

    /// Gone after an attempt whose end nobody saw is deleted, most likely by that attempt.
    fn is_done_already(&self, error: &Error) -> bool {
        error.is_in_doubt() && self.is_gone(error.kind())
    }

    fn is_gone(&self, kind: ErrorKind) -> bool {
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

    /// The kind of each result and whether it is in doubt; `None` is a success.
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
    fn each_error_finds_its_item_whatever_the_order_and_case() {
        let answer = r#"{"errors":[
            {"enrollmentGroupId":"C","errorCode":400004,"errorStatus":"No."},
            {"enrollmentGroupId":"a","errorCode":409202,"errorStatus":"EnrollmentGroup already exists."}
        ],"isSuccessful":false}"#;
        let found = kinds(&["a", "b", "c"], &BulkOperationMode::Create, false, answer);
        assert_eq!(found, [EXISTS, None, Some((ErrorKind::Invalid, false))]);
    }

    #[test]
    fn of_two_items_with_one_id_the_second_finds_the_first() {
        let answer = r#"{"errors":[{"enrollmentGroupId":"a","errorCode":409202,"errorStatus":"EnrollmentGroup already exists."}],"isSuccessful":false}"#;
        let found = kinds(&["a", "b", "a"], &BulkOperationMode::Create, false, answer);
        assert_eq!(found, [None, None, EXISTS]);
    }

    #[test]
    fn a_failure_without_an_item_leaves_no_item_that_counts_as_done() {
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
    fn after_a_lost_answer_what_is_there_is_in_doubt_and_what_is_gone_is_deleted() {
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
    fn the_services_words_are_kept() {
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
