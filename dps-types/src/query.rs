//! Queries for enrollments and enrollment groups.

/// A query for enrollments or enrollment groups.
///
/// DPS supports one query, `SELECT *`, optionally with `FROM enrollments` or `FROM enrollmentGroups`;
/// projections and conditions are refused. An empty text counts as `SELECT *`.
///
/// ```
/// use dps_types::QuerySpecification;
///
/// let query = QuerySpecification::new("SELECT * FROM enrollments WHERE provisioningStatus = 'disabled'");
/// # drop(query);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct QuerySpecification {
    /// The query, such as `SELECT *`.
    pub query: String,
}

impl QuerySpecification {
    /// A query in the language of the service.
    pub fn new(query: impl Into<String>) -> Self {
        Self {
            query: query.into(),
        }
    }
}

impl Default for QuerySpecification {
    /// `SELECT *`
    fn default() -> Self {
        Self::new("SELECT *")
    }
}
