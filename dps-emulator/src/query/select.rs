//! The query that DPS supports: `SELECT *`.
//!
//! Projections and conditions are not supported (azure-docs `iot-dps/dps-faq.yml`). The service was seen to ignore them
//! (azure-iot-sdk-csharp#794, azure-iot-sdk-node#814), which returns a wrong result without an error. The emulator refuses them.

use crate::service_error::ServiceError;

/// The sources that the SDKs and their samples use after `FROM`.
const SOURCES: [&str; 4] = [
    "enrollments",
    "enrollmentGroups",
    "registrations",
    "deviceRegistrations",
];

/// Accepts `SELECT *` with or without `FROM`, in upper or lower case, an empty query (from the C# SDK) and `*` alone (from the
/// samples of the Node SDK).
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
    fn select_all_is_accepted_in_upper_and_lower_case() {
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
    fn any_other_query_is_refused() {
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
