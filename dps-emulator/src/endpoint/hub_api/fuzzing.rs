//! The paths of a hub's REST API, for the targets of `fuzz/`.

use super::operation::Operation;

/// Reads the method and path of a request to a hub. Returns the operation, or the status of the refusal.
pub fn hub_operation(method: &str, path: &str) -> Result<String, u16> {
    match Operation::parse(method, path) {
        Ok(operation) => Ok(format!("{operation:?}")),
        Err(error) => Err(error.status()),
    }
}
