//! Operation ids as the service makes them: `5.{16 hex digits}.{guid}`, the middle part constant per instance.

use dps_types::{IdScope, OperationId};
use sha2::{Digest, Sha256};

use crate::random::Random;

#[expect(
    clippy::expect_used,
    reason = "an operation id may have hex digits, dots and dashes"
)]
pub(crate) fn new_id(id_scope: &IdScope, random: &Random) -> OperationId {
    let tenant: String = Sha256::digest(id_scope.to_lowercase())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    OperationId::new(format!("5.{tenant}.{}", random.uuid())).expect("a valid operation id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_id_looks_like_the_services() {
        let scope: IdScope = "0ne00000A0A".parse().expect("valid");
        let random = Random::new(None);
        let (one, other) = (new_id(&scope, &random), new_id(&scope, &random));
        assert_ne!(one, other);
        let parts: Vec<&str> = one.as_str().split('.').collect();
        assert_eq!(
            (parts.len(), parts[0], parts[1].len(), parts[2].len()),
            (3, "5", 16, 36)
        );
        assert_eq!(other.as_str().split('.').nth(1), Some(parts[1]));
    }
}
