//! Encodes and decodes the stored documents. A document is stored only if it can be read again.

use dps_types::ErrorCode;
use serde::{Serialize, de::DeserializeOwned};

use crate::service_error::ServiceError;

/// Encodes a document and checks that it can be decoded. A value that is nested too deeply, for example, cannot.
pub(crate) fn encode<T: Serialize + DeserializeOwned>(
    document: &T,
) -> Result<Vec<u8>, ServiceError> {
    let encoded = serde_json::to_vec(document).and_then(|bytes| {
        let _readable: T = serde_json::from_slice(&bytes)?;
        Ok(bytes)
    });
    encoded
        .map_err(|error| ServiceError::invalid(format!("The document cannot be stored: {error}.")))
}

/// Decodes a stored document.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damaged> {
    serde_json::from_slice(bytes).map_err(Damaged)
}

/// Decodes the documents of a list. A document that cannot be read is named in the log and skipped, so that it does not hide
/// the others.
pub(crate) fn decode_or_skip<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Option<T> {
    let decoded = decode(bytes);
    if let Err(Damaged(error)) = &decoded {
        tracing::error!(key, %error, "skipped a stored document that cannot be read");
    }
    decoded.ok()
}

/// A stored document that cannot be read.
#[derive(Debug)]
pub(crate) struct Damaged(serde_json::Error);

impl From<Damaged> for ServiceError {
    /// 500001: not the client's fault.
    fn from(Damaged(error): Damaged) -> Self {
        Self::new(
            ErrorCode::SERVER_ERROR,
            "The stored document cannot be read. Delete it and create it again.",
        )
        .with_reason(format!("a stored document cannot be read: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn encoded_values_can_be_decoded() {
        for levels in [0, 1, 64, 126, 127] {
            let bytes = encode(&nested(levels)).expect("readable");
            let decoded: Value = decode(&bytes).expect("readable");
            assert_eq!(decoded, nested(levels));
        }
        for levels in [128, 129, 1000] {
            let refused = encode(&nested(levels)).expect_err("too deep");
            assert_eq!(refused.code().get(), 400_004);
        }
    }

    #[test]
    fn a_document_that_cannot_be_read_is_skipped_in_a_list() {
        assert_eq!(decode_or_skip::<u8>("a", b"7"), Some(7));
        for bytes in [&b""[..], b"{", b"\"text\"", b"\0\0", b"\xff"] {
            assert_eq!(decode_or_skip::<u8>("a", bytes), None);
            let error = decode::<u8>(bytes).expect_err("damaged");
            assert_eq!(ServiceError::from(error).code().get(), 500_001);
        }
    }
}
