//! Files of enrollments that `dps` imports: each row has its number, a document that can be sent is read again unchanged, and the
//! cells of a CSV file keep its fields.
#![no_main]

use dps_cli::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for extension in ["csv", "json", "ndjson"] {
        let documents = fuzzing::import(bytes, extension);
        for document in &documents {
            fuzzing::check_csv_cells(document);
            let again = fuzzing::import(document.to_string().as_bytes(), "ndjson");
            assert!(!again.is_empty(), "{document}");
        }
    }
});
