//! Memory that a caller's arguments decide, refused before it is asked for.
//!
//! Rust aborts the process where memory is short, and PostgreSQL then restarts every session. So what is too much by the
//! setting is an error, and what the machine does not have is one as well.

use std::hint::black_box;

use crate::error::{Report, SqlError};
use crate::settings;

/// Less than this is not asked for in advance: every session has it.
const SMALL: u64 = 64 << 20;

/// Whether the machine would give so many bytes now. They are asked for at once and given back untouched.
pub fn available(bytes: u64) -> Result<(), Report> {
    if bytes < SMALL {
        return Ok(());
    }
    let mut trial = Vec::<u8>::new();
    let outcome = usize::try_from(bytes).ok().and_then(|bytes| trial.try_reserve_exact(bytes).ok());
    // Or the compiler leaves out what nobody uses.
    black_box(&trial);
    outcome.ok_or(SqlError::OutOfMemory { bytes }.into())
}

/// Refuses what would take more than `speaker.max_memory`.
pub fn within_limit(bytes: u64, what: impl FnOnce() -> String) -> Result<(), Report> {
    let max_bytes = settings::max_memory();
    if bytes <= max_bytes {
        return Ok(());
    }
    Err(SqlError::TooMuchMemory { what: what(), bytes, max_bytes }.into())
}

/// Makes room for `more` values. A vector grows by an eighth at a time: what is asked for and not used stays small.
pub fn reserve<T>(values: &mut Vec<T>, more: usize) -> Result<(), Report> {
    if values.capacity() - values.len() >= more {
        return Ok(());
    }
    let room = more.max(values.len() / 8);
    let bytes = (values.len() + room) as u64 * size_of::<T>() as u64;
    values.try_reserve_exact(room).map_err(|_| SqlError::OutOfMemory { bytes }.into())
}
