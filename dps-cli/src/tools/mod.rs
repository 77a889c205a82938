//! Commands that need no server, and the progress bar.

pub(crate) mod completions;
pub(crate) mod compute_device_key;
pub(crate) mod man;
pub(crate) mod progress;
