//! Recordings of the service and its OpenAPI documents, which are not part of this repository.

use std::path::{Path, PathBuf};

/// Returns a path below the folder that `DPS_SHARED` names. Tests that need it are ignored unless `scripts/test recordings`
/// runs them.
pub(crate) fn shared(below: &str) -> PathBuf {
    let folder =
        std::env::var_os("DPS_SHARED").expect("DPS_SHARED names the folder with the recordings");
    Path::new(&folder).join(below)
}
