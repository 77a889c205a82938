//! Error messages for operators.

/// Ends a message with exactly one full stop, also if it ends with the message of another error.
pub(crate) fn sentence(message: String) -> String {
    let mut message = message;
    message.truncate(message.trim_end_matches(['.', ' ', '\n']).len());
    message.push('.');
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_has_one_full_stop() {
        for text in [
            "It failed",
            "It failed.",
            "It failed..",
            "It failed. ",
            "It failed.\n",
        ] {
            assert_eq!(sentence(text.to_owned()), "It failed.");
        }
    }
}
