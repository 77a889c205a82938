//! The names in certificates that the emulator issues: those of a certificate authority, and the attributes of a subject, each in a
//! line `NAME=VALUE`. An accepted name is that of the certificate.
#![no_main]

use dps_emulator::fuzzing::{check_authority, check_subject};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    check_authority(text);
    let attributes: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('=')).collect();
    check_subject(&attributes);
});
