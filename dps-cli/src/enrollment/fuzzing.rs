//! Files of enrollments, for the targets of `fuzz/`.

use serde_json::{Map, Value};

use super::document;
use super::import::{Mode, item};
use super::kind::{Group, Individual};
use super::reader::{FileFormat, Row, read_from};

/// Reads a file of enrollments: the format by the extension, and the enrollments that can be sent, as JSON. The number of a row is
/// its position, from 1.
pub fn import(bytes: &[u8], extension: &str) -> Vec<Value> {
    let format = match extension {
        "csv" => FileFormat::Csv,
        "json" => FileFormat::Json,
        _ => FileFormat::Ndjson,
    };
    let (mut documents, mut number) = (Vec::new(), 0);
    let pass = |row: Row| {
        number += 1;
        assert_eq!(row.number, number);
        let Ok(fields) = row.fields else {
            return true;
        };
        for mode in [Mode::Create, Mode::Update, Mode::Delete] {
            if let Ok(document) = item::<Individual>(fields.clone(), mode) {
                documents.push(serde_json::to_value(document).expect("JSON"));
            }
            if let Ok(document) = item::<Group>(fields.clone(), mode) {
                documents.push(serde_json::to_value(document).expect("JSON"));
            }
        }
        true
    };
    let _ = read_from(bytes, format, pass);
    documents
}

/// Writes fields of an enrollment as cells of a CSV file, and reads them again.
pub fn check_csv_cells(document: &Value) {
    let mut read = Map::new();
    let paths = [
        "registrationId",
        "enrollmentGroupId",
        "deviceId",
        "iotHubs",
        "initialTwin",
    ];
    for path in paths {
        let cell = document::cell(document, path);
        if !cell.is_empty() {
            let value = document::parse(path, &cell);
            document::set(&mut read, path, value).expect("a path");
        }
    }
    for (path, value) in read {
        assert_eq!(document.get(&path), Some(&value), "{path}");
    }
}
