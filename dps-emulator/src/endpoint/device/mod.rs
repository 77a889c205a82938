//! The device API: one answer for every transport, and HTTPS.

pub(super) mod answer;
pub(super) mod https;
