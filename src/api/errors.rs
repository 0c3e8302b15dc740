//! The catalogue of errors, for SQL.

use pgrx::prelude::*;

use crate::error::{raise, raise_code, ErrorCode, SqlError, ALL};

#[pg_extern(immutable, parallel_safe)]
#[allow(clippy::type_complexity, reason = "pgrx reads the columns of the row from the type")]
fn speaker_error_catalogue() -> TableIterator<
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

// For the functions written in SQL: plpgsql could not set the routine.
#[pg_extern(volatile, parallel_safe)]
fn speaker_raise(code: Option<&str>, message: Option<&str>, hint: Option<&str>) {
    let entry = raise(|| {
        let code = code.ok_or(SqlError::Null { argument: "code" })?;
        ErrorCode::find(code).ok_or_else(|| SqlError::ErrorCode { got: code.to_owned() }.into())
    });
    raise_code(entry, message.unwrap_or(entry.meaning), hint.unwrap_or(entry.recovery))
}

extension_sql!(
    r#"
ALTER FUNCTION speaker_error_catalogue() ROWS 60;
COMMENT ON FUNCTION speaker_error_catalogue() IS
    'Every error code, as in the detail and the routine of an error and in the ledger: its SQLSTATE, what it means, what to look at and what to do. permanent: the same input can never work.';
COMMENT ON FUNCTION speaker_raise(text, text, text) IS
    'Raises an error of the catalogue with this message. A NULL hint is what the catalogue says to do.';
"#,
    name = "errors_comments",
    requires = [speaker_error_catalogue, speaker_raise],
);
