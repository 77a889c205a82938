//! The parsers of the program, for the targets of `fuzz/`. Compiled only with `--cfg fuzzing`, which `cargo fuzz` sets.

use std::path::{Path, PathBuf};

use dps_types::AllocationRequest;

pub use crate::certificate::fuzzing::pkcs12;
pub use crate::enrollment::fuzzing::{check_csv_cells, import};
pub use crate::simulate::fuzzing::{duration, simulate};

use crate::policy;
use crate::profile::Profile;

/// Reads a profile of a file in this folder. Returns the files that it names, or the error as text.
pub fn profile(text: &str, folder: &Path, name: Option<&str>) -> Result<Vec<PathBuf>, String> {
    match Profile::parse(text, &folder.join("profiles.toml"), name) {
        Ok(profile) => {
            let files = [profile.connection_string_file, profile.ca_file];
            Ok(files.into_iter().flatten().collect())
        }
        Err(failure) => Err(failure.to_string()),
    }
}

/// Reads the recorded requests of `policy test`, each with the expected hub.
pub fn recorded_requests(
    text: &str,
) -> impl Iterator<Item = Result<(AllocationRequest, Option<String>), String>> {
    policy::requests(text).map(|request| request.map_err(|failure| failure.to_string()))
}
