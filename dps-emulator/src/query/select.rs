//! The one sentence that DPS understands: `SELECT *`.
//!
//! Projections and conditions are not supported (azure-docs `iot-dps/dps-faq.yml`). The service was seen to ignore them
//! (azure-iot-sdk-csharp#794, azure-iot-sdk-node#814), which answers another question than was asked: here they are refused.

use crate::service_error::ServiceError;

/// What the SDKs and their samples name after `FROM`.
const SOURCES: [&str; 4] = [
    "enrollments",
    "enrollmentGroups",
    "registrations",
    "deviceRegistrations",
];

/// Takes `SELECT *` with or without `FROM` in any case, nothing at all (as the C# SDK sends) and `*` alone (as the samples
/// of the Node SDK do).
pub(crate) fn check(query: &str) -> Result<(), ServiceError> {
    let spaced = query.replace('*', " * ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let is = |word: &str, other: &str| word.eq_ignore_ascii_case(other);
    let is_source = |word: &str| SOURCES.iter().any(|source| is(word, source));
    match *words.as_slice() {
        [] | ["*"] => Ok(()),
        [select, "*"] if is(select, "select") => Ok(()),
        [select, "*", from, source]
            if is(select, "select") && is(from, "from") && is_source(source) =>
        {
            Ok(())
        }
        _ => Err(ServiceError::invalid(
            "Only the query 'SELECT *' is supported, without conditions or projections.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_may_be_asked_for_in_any_case() {
        for query in [
            "SELECT *",
            "select *",
            " Select  *\n",
            "SELECT*",
            "SELECT * FROM enrollments",
            "select * from enrollmentgroups",
            "SELECT * FROM deviceRegistrations",
            "*",
            "",
            " ",
        ] {
            assert_eq!(check(query), Ok(()), "{query:?}");
        }
    }

    #[test]
    fn anything_less_is_refused() {
        for query in [
            "SELECT",
            "SELECT registrationId FROM enrollments",
            "SELECT * FROM devices",
            "SELECT * FROM",
            "SELECT * enrollments",
            "SELECT * FROM enrollments WHERE registrationId = 'a'",
            "SELECT * WHERE registrationId = 'a'",
            "SELECT TOP 1 *",
            "SELECT **",
            "SELECT * FROM enrollments;",
            "DROP TABLE enrollments",
        ] {
            assert!(check(query).is_err(), "{query:?}");
        }
    }
}
