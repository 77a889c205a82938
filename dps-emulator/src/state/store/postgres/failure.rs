//! Decides what an error of the database means for the call: repeat it, or report it.

use std::time::Duration;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::{StoreError, StoreErrorKind};

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was changed, and the next attempt can succeed.
    Again(StoreError),
    /// The connection was lost: changes may have been made or not.
    Lost(StoreError),
    /// The next attempt would fail as well.
    Refused(StoreError),
}

impl Failure {
    /// The failure of a new connection. Nothing has been sent on it.
    pub(super) fn of_connecting(error: Error) -> Self {
        let Some(database) = error.as_db_error() else {
            return match error.is_closed() || is_input_or_output(&error) {
                true => Self::Again(unavailable("PostgreSQL cannot be reached", error)),
                false => Self::Refused(denied(
                    "PostgreSQL does not offer the TLS or the authentication that the URL requires",
                    error,
                )),
            };
        };
        let code = database.code();
        if *code == SqlState::INVALID_PASSWORD
            || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
        {
            Self::Refused(denied("PostgreSQL refuses the user or its password", error))
        } else if *code == SqlState::INVALID_CATALOG_NAME {
            Self::Refused(denied("the database does not exist in PostgreSQL", error))
        } else {
            Self::from(error)
        }
    }

    /// The failure of a connection that was not established in this time.
    pub(super) fn unreachable(limit: Duration) -> Self {
        Self::Again(
            StoreError::new(format!(
                "PostgreSQL has not accepted a connection within {} seconds",
                limit.as_secs()
            ))
            .with_kind(StoreErrorKind::Unavailable),
        )
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let Some(code) = error.code() else {
            return Self::Lost(unavailable(
                "the connection to PostgreSQL was lost before the answer",
                error,
            ));
        };
        if repeats(code) {
            Self::Again(unavailable(
                "PostgreSQL ended the transaction because of a conflict or of too little capacity",
                error,
            ))
        } else if ends(code) {
            Self::Lost(unavailable(
                "PostgreSQL ended the connection before the answer",
                error,
            ))
        } else if *code == SqlState::QUERY_CANCELED {
            // Canceled by statement_timeout: the caller does not wait any longer.
            Self::Refused(unavailable(
                "PostgreSQL canceled the statement at its time limit",
                error,
            ))
        } else {
            Self::Refused(StoreError::with_source(
                "PostgreSQL refused the statement",
                error,
            ))
        }
    }
}

/// The codes after which PostgreSQL has rolled the transaction back or has not begun it, and which pass.
fn repeats(code: &SqlState) -> bool {
    [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
    ]
    .contains(code)
}

/// The codes with which the server ends a connection. A distributed database reports 40003 if it does not know the outcome.
fn ends(code: &SqlState) -> bool {
    // Class 08: connection exceptions.
    code.code().starts_with("08")
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ]
        .contains(code)
}

/// Whether the cause is the network rather than an answer of the server.
fn is_input_or_output(error: &Error) -> bool {
    let error = error as &(dyn std::error::Error + 'static);
    let io = std::iter::successors(Some(error), |error| error.source())
        .find_map(|error| error.downcast_ref::<std::io::Error>());
    // rustls reports what is wrong with a certificate as InvalidData.
    io.is_some_and(|io| io.kind() != std::io::ErrorKind::InvalidData)
}

fn unavailable(message: &'static str, error: Error) -> StoreError {
    StoreError::with_source(message, error).with_kind(StoreErrorKind::Unavailable)
}

fn denied(message: &'static str, error: Error) -> StoreError {
    StoreError::with_source(message, error).with_kind(StoreErrorKind::Denied)
}
