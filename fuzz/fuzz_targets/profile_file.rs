//! The profile file of `dps`: relative files start at its folder, and no error repeats a connection string.
#![no_main]

use std::path::Path;

use dps_cli::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let folder = Path::new("/profiles");
    for name in [None, Some("default"), Some("emulator")] {
        if let Ok(files) = fuzzing::profile(text, folder, name) {
            assert!(files.iter().all(|file| file.is_absolute()));
        }
    }

    // A line that is not TOML follows a secret.
    if text.lines().count() < 20 {
        let with_secret = format!("[default]\nconnection-string = \"c2VjcmV0\"\n{text}\n=");
        let error = fuzzing::profile(&with_secret, folder, None).expect_err("not TOML");
        assert!(!error.contains("c2VjcmV0") || text.contains("c2VjcmV0"), "{error}");
    }
});
