//! The records in the store: a record that can be read can be stored again, and is then read as the same record. The first byte is the
//! kind of the record.
#![no_main]

use dps_emulator::fuzzing::check_record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((kind, record)) = bytes.split_first() {
        check_record(*kind, record);
    }
});
