//! Queries of the service API: what may be asked, how much at once, and where the next page begins.

mod continuation;
mod select;

use dps_types::EnrollmentGroupId;

pub(crate) use continuation::Continuation;
pub(crate) use select::check;

use crate::service_error::ServiceError;

/// How many items a page has at most when nobody says. The service does not document its own number.
const DEFAULT_ITEMS: usize = 100;
/// The most that a page has, whatever is asked for.
const MOST_ITEMS: usize = 1000;

/// What is listed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listing<'a> {
    Individuals,
    Groups,
    /// The registrations of a group's devices.
    Registrations(&'a EnrollmentGroupId),
}

impl Listing<'_> {
    /// What the service calls an item, in the header of a page.
    pub(crate) fn item_type(&self) -> &'static str {
        match self {
            Self::Individuals => "Enrollment",
            Self::Groups => "EnrollmentGroup",
            Self::Registrations(_) => "DeviceRegistration",
        }
    }
}

/// How many items a page may have, from the header that asks for it.
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
    fn a_page_has_a_hundred_items_unless_asked_and_a_thousand_at_most() {
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
