//! pg_speaker: voice embeddings computed in PostgreSQL.
//!
//! This crate is the glue and nothing more: it reads arguments and settings, calls `speaker_core` and `speaker_onnx`,
//! converts what they return and reports their errors. State lives in the tables of a store, which are not the extension's.

use pgrx::prelude::*;

mod aggregate;
mod api;
mod composite;
mod datum;
mod error;
mod extraction;
mod install;
mod interrupts;
mod lease;
mod memory;
mod model_cache;
mod settings;
mod source;
mod store;

pg_module_magic!();

/// Runs when the library is loaded into a backend. It only declares settings: sessions and their threads are made on
/// first use, never in the postmaster, whose forked children would inherit broken thread pools.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::declare();
}
