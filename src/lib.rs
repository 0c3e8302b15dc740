//! pg_speaker: voice embeddings computed in PostgreSQL.
//!
//! This crate is the glue and nothing more: it reads arguments and settings, calls `speaker_core` and `speaker_onnx`,
//! converts what they return and reports their errors. State lives in the tables of `sql/`.

use pgrx::prelude::*;

mod aggregate;
mod api;
mod backend;
mod datum;
mod error;
mod interrupts;
mod lease;
mod settings;
mod source;

pg_module_magic!();

/// Runs when the library is loaded into a backend. It only declares settings: sessions and their threads are made on
/// first use, never in the postmaster, whose forked children would inherit broken thread pools.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::declare();
}

// The install SQL, in order: each file may use what stands before it.
extension_sql_file!(
    "../sql/tables.sql",
    name = "tables",
    requires = [
        api::manifest::speaker::builtin_manifests,
        api::manifest::speaker::manifest_facts,
        api::sums::speaker::mean_of
    ]
);
extension_sql_file!("../sql/errors.sql", name = "errors", requires = ["tables", api::errors::speaker::error_catalogue]);
extension_sql_file!("../sql/models.sql", name = "models", requires = ["errors"]);
extension_sql_file!("../sql/recordings.sql", name = "recordings", requires = ["models"]);
extension_sql_file!("../sql/centroids.sql", name = "centroids", requires = ["recordings", "centroid_aggregates"]);
extension_sql_file!(
    "../sql/ledger.sql",
    name = "ledger",
    requires = [
        "centroids",
        api::settings::speaker::max_attempts,
        api::settings::speaker::retry_delay_s,
        api::embedding::speaker::extract_segments
    ]
);
extension_sql_file!("../sql/backfill.sql", name = "backfill", requires = ["ledger", api::lease::speaker::lease_class]);
extension_sql_file!("../sql/ingest.sql", name = "ingest", requires = ["backfill"]);
extension_sql_file!("../sql/label.sql", name = "label", requires = ["ingest"]);
extension_sql_file!("../sql/identify.sql", name = "identify", requires = ["label", "nearest_aggregates"]);
extension_sql_file!("../sql/search.sql", name = "search", requires = ["identify"]);
extension_sql_file!("../sql/cluster.sql", name = "cluster", requires = ["search"]);
extension_sql_file!("../sql/views.sql", name = "views", requires = ["cluster"]);
