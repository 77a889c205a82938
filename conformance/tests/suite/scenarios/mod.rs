//! The scenarios, which do not depend on a transport.

pub(crate) mod cancellation;
pub(crate) mod certificates;
pub(crate) mod hub;
pub(crate) mod losses;
pub(crate) mod outcomes;
pub(crate) mod refusals;
pub(crate) mod waits;
