//! Queries of the service API: their syntax, page size and continuation tokens.

mod continuation;
mod select;

use dps_types::EnrollmentGroupId;

pub(crate) use continuation::Continuation;
pub(crate) use select::check;

use crate::service_error::ServiceError;

/// The default page size. The service's default is not documented.
const DEFAULT_ITEMS: usize = 100;
/// The largest page size.
const MOST_ITEMS: usize = 1000;

/// The list that a query returns.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listing<'a> {
    Individuals,
    Groups,
    /// The registrations of a group's devices.
    Registrations(&'a EnrollmentGroupId),
}

impl Listing<'_> {
    /// The service's name of an item, for the `x-ms-item-type` header.
    pub(crate) fn item_type(&self) -> &'static str {
        match self {
            Self::Individuals => "Enrollment",
            Self::Groups => "EnrollmentGroup",
            Self::Registrations(_) => "DeviceRegistration",
        }
    }
}

/// The page size, from the `x-ms-max-item-count` header.
pub(crate) fn item_count(header: Option<&str>) -> Result<usize, ServiceError> {
    let Some(text) = header.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(DEFAULT_ITEMS);
    };
    match text.parse::<i32>() {
        Ok(count) if count > 0 => Ok(MOST_ITEMS.min(count as usize)),
        _ => Err(ServiceError::invalid(format!(
            "The x-ms-max-item-count must be a whole number from 1, not '{text}'."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_100_items_by_default_and_1000_at_most() {
        for (header, count) in [
            (None, 100),
            (Some(""), 100),
            (Some("1"), 1),
            (Some(" 50 "), 50),
            (Some("1000"), 1000),
            (Some("2147483647"), 1000),
        ] {
            assert_eq!(item_count(header), Ok(count), "{header:?}");
        }
        for header in ["0", "-1", "ten", "1.5", "2147483648", "1 2"] {
            assert_eq!(
                item_count(Some(header)),
                Err(ServiceError::invalid(format!(
                    "The x-ms-max-item-count must be a whole number from 1, not '{header}'."
                )))
            );
        }
    }
}
