//! The paths and documents of requests, for the targets of `fuzz/`.

pub use super::control_plane::fuzzing::{control_plane_path, put_instance};
pub use super::hub_api::fuzzing::hub_operation;
