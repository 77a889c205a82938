//! Documents as they are sent, typed from Microsoft's specifications.

mod allocation;
mod bulk;
mod data_plane_2026;
mod device_update;
mod enrollment;
mod refusal;
mod registration;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn read<T: DeserializeOwned>(document: &Value) -> T {
    serde_json::from_value(document.clone()).expect("readable")
}

fn write(document: &impl Serialize) -> Value {
    serde_json::to_value(document).expect("writable")
}

/// Reads, and checks that nothing is lost, added or moved when it is written.
fn same<T: DeserializeOwned + Serialize>(text: &str) -> T {
    let document: Value = serde_json::from_str(text).expect("JSON");
    let typed: T = serde_json::from_str(text).expect("readable");
    let written = serde_json::to_string(&typed).expect("writable");
    assert_eq!(written, document.to_string());
    typed
}

fn refusal<T: DeserializeOwned>(document: Value) -> String {
    match serde_json::from_value::<T>(document) {
        Ok(_) => panic!("it was read"),
        Err(error) => error.to_string(),
    }
}
