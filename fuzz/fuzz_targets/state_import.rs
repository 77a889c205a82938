//! The import of a state: what is accepted can be read, listed, exported, imported again and deleted.
#![no_main]

mod ready;

use dps_emulator::fuzzing::check_import;
use libfuzzer_sys::fuzz_target;
use ready::now;

fuzz_target!(|bytes: &[u8]| now(check_import(bytes)));
