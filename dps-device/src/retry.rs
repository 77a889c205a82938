//! Decides about retries after a failed request. Every such decision is here.

use dps_types::ErrorCode;

use crate::error::{Error, ErrorKind};

/// The next step after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Send the same request again with the secondary proof.
    UseSecondary,
    /// Send the same request again after a wait.
    Retry,
    /// Start a new registration after a wait: the service has lost the operation.
    RegisterAgain,
    /// Return the error.
    Fail,
}

/// The state of the registration at a failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    /// An operation was polled when the request failed.
    pub(crate) polling: bool,
    /// There is a secondary proof that was not used yet.
    pub(crate) has_secondary: bool,
    /// The proof is a TPM whose challenge key the service or the TPM may have lost. A new registration starts with a new
    /// challenge. After a second loss without a successful poll it is a refusal.
    pub(crate) can_lose_challenge: bool,
}

/// Decides what to do after a failure.
pub(crate) fn reaction(error: &Error, situation: Situation) -> Reaction {
    match error.kind() {
        // A 403 refuses the device and not its key. A refused MQTT connection has no status.
        ErrorKind::Unauthorized
            if situation.has_secondary && matches!(error.status(), Some(401) | None) =>
        {
            Reaction::UseSecondary
        }
        ErrorKind::Unauthorized
            if situation.polling && situation.can_lose_challenge && error.status() == Some(401) =>
        {
            Reaction::RegisterAgain
        }
        ErrorKind::NotFound if situation.polling => Reaction::RegisterAgain,
        // Another registration of the same device was faster.
        ErrorKind::Failed if error.code() == Some(ErrorCode::REGISTRATION_CONFLICT) => {
            Reaction::RegisterAgain
        }
        _ if error.is_retried() => Reaction::Retry,
        _ => Reaction::Fail,
    }
}

#[cfg(test)]
mod tests {
    use dps_types::ErrorDetails;

    use super::*;

    const POLL: Situation = Situation {
        polling: true,
        has_secondary: false,
        can_lose_challenge: false,
    };
    const REGISTRATION: Situation = Situation {
        polling: false,
        ..POLL
    };

    fn error(kind: ErrorKind, status: u16) -> Error {
        Error::new(kind, "test").with_status(status)
    }

    #[test]
    fn each_failure_has_one_reaction() {
        let conflict = ErrorDetails::new(ErrorCode::REGISTRATION_CONFLICT, "twice");
        let conflict = error(ErrorKind::Failed, 200).with_details(Some(conflict));
        let refused = error(ErrorKind::Unauthorized, 401);
        let secondary = Situation {
            has_secondary: true,
            ..POLL
        };
        let tpm = Situation {
            can_lose_challenge: true,
            ..POLL
        };
        let tpm_registration = Situation {
            polling: false,
            ..tpm
        };
        for (error, situation, expected) in [
            (&refused, REGISTRATION, Reaction::Fail),
            (&refused, secondary, Reaction::UseSecondary),
            (
                &Error::new(ErrorKind::Unauthorized, "CONNACK 5"),
                secondary,
                Reaction::UseSecondary,
            ),
            (
                &error(ErrorKind::Unauthorized, 403),
                secondary,
                Reaction::Fail,
            ),
            (&refused, tpm, Reaction::RegisterAgain),
            (&refused, tpm_registration, Reaction::Fail),
            (
                &error(ErrorKind::NotFound, 404),
                POLL,
                Reaction::RegisterAgain,
            ),
            (
                &error(ErrorKind::NotFound, 404),
                REGISTRATION,
                Reaction::Fail,
            ),
            (&conflict, REGISTRATION, Reaction::RegisterAgain),
            (&error(ErrorKind::Failed, 200), POLL, Reaction::Fail),
            (
                &error(ErrorKind::Connect, 200),
                REGISTRATION,
                Reaction::Retry,
            ),
            (&error(ErrorKind::Service, 503), POLL, Reaction::Retry),
            (&error(ErrorKind::Throttled, 429), POLL, Reaction::Retry),
            // A page of a proxy or a gateway.
            (&error(ErrorKind::Protocol, 403), POLL, Reaction::Fail),
            (&error(ErrorKind::Protocol, 502), POLL, Reaction::Retry),
            (&error(ErrorKind::Protocol, 511), POLL, Reaction::Fail),
            (&error(ErrorKind::Rejected, 400), POLL, Reaction::Fail),
        ] {
            assert_eq!(
                reaction(error, situation),
                expected,
                "{error:?} {situation:?}"
            );
        }
    }
}
