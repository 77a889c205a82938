//! Bulk data beside the checkout: recordings of the service, its OpenAPI documents.

use std::path::{Path, PathBuf};

/// A path below the folder that `DPS_SHARED` names. Without it, says so past the test harness, which swallows what a
/// passing test prints.
pub(crate) fn shared(below: &str) -> Option<PathBuf> {
    let folder = match std::env::var_os("DPS_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
    };
    let path = folder.join(below);
    if path.exists() {
        return Some(path);
    }
    use std::io::Write as _;
    let words = format!("SKIPPED: no {}; set DPS_SHARED\n", path.display());
    std::io::stderr()
        .write_all(words.as_bytes())
        .expect("a standard error");
    None
}
