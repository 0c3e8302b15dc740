//! The catalogue of errors, for SQL.

use pgrx::prelude::*;

use crate::error::{raise, raise_code, ErrorCode, SqlError, ALL};

#[pg_schema]
pub mod speaker {
    use super::*;

    #[pg_extern(immutable, parallel_safe)]
    #[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
    pub fn error_catalogue() -> TableIterator<
        'static,
        (
            name!(code, &'static str),
            name!(sqlstate, String),
            name!(permanent, bool),
            name!(meaning, &'static str),
            name!(troubleshooting, &'static str),
            name!(recovery, &'static str),
        ),
    > {
        TableIterator::new(ALL.iter().map(|entry| {
            (entry.code, entry.sqlstate_text(), entry.permanent, entry.meaning, entry.troubleshooting, entry.recovery)
        }))
    }

    /// For the functions written in SQL: plpgsql could not set the code.
    #[pg_extern(volatile, parallel_safe)]
    pub fn raise_error(code: &str, message: &str, hint: default!(Option<&str>, "NULL")) {
        let entry = raise(|| ErrorCode::find(code).ok_or_else(|| SqlError::ErrorCode { got: code.to_owned() }.into()));
        raise_code(entry, message, hint.unwrap_or(entry.recovery))
    }
}
