//! Requests to the control plane: paths, which begin with a slash, and the documents of instances.
#![no_main]

use dps_emulator::fuzzing::{control_plane_path, put_instance};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if !bytes.starts_with(b"/") {
        return put_instance(bytes);
    }
    let Ok(path) = str::from_utf8(bytes) else {
        return;
    };
    if let Some(canonical) = control_plane_path(path) {
        assert_eq!(control_plane_path(&canonical).as_deref(), Some(&*canonical));
        assert_eq!(control_plane_path(&format!("{canonical}/")).as_deref(), Some(&*canonical));
    }
});
