//! The store: its migrations and the definitions of today, as text with places for the names of three schemas.
//!
//! A store is an ordinary schema of an ordinary role. What stands here is only text; `sql/extension/store.sql` runs it.
//! Tables come by numbered migrations. Functions, triggers and views are the same in every store of a version, so they
//! are made anew as a whole, after the migrations that are missing: that also heals a store whose schema, or whose
//! extension's, has another name now.

use pgrx::prelude::*;

use crate::error::{raise, SqlError};

struct Migration {
    name: &'static str,
    up: &'static [&'static str],
    /// The way back, which refuses where it would lose something.
    down: &'static str,
}

macro_rules! files {
    ($($path:literal),* $(,)?) => { &[$(include_str!(concat!("../sql/store/", $path))),*] };
}

/// In order; the first has number 1. What was released is never edited.
const MIGRATIONS: &[Migration] = &[Migration {
    name: "store",
    up: files!["schema/models.sql", "schema/recordings.sql", "schema/ledger.sql", "schema/speakers.sql"],
    down: include_str!("../sql/store/migrations/0001_store.down.sql"),
}];

/// Each file may use what stands before it; bodies of PL/pgSQL may use everything.
const DEFINITIONS: &[&str] = files![
    "work/errors.sql",
    "keep/collections.sql",
    "keep/sources.sql",
    "keep/centroids.sql",
    "keep/recordings.sql",
    "keep/segments.sql",
    "keep/embeddings.sql",
    "keep/tallies.sql",
    "keep/claims.sql",
    "work/collections.sql",
    "work/models.sql",
    "work/due.sql",
    "work/embed.sql",
    "work/labels.sql",
    "api/models.sql",
    "api/recordings.sql",
    "api/ingest.sql",
    "api/labels.sql",
    "api/identify.sql",
    "api/search.sql",
    "api/cluster.sql",
    "api/backfill.sql",
    "api/care.sql",
    "views/views.sql",
    "access/row_security.sql",
    "access/grants.sql",
];

/// The version of a store is the number of its last migration.
const VERSION: i32 = MIGRATIONS.len() as i32;

#[pg_extern(immutable, parallel_safe)]
fn speaker_store_migrations(
) -> TableIterator<'static, (name!(number, i32), name!(name, &'static str), name!(up, String), name!(down, &'static str))>
{
    let rows = (1..)
        .zip(MIGRATIONS)
        .map(|(number, migration)| (number, migration.name, migration.up.concat(), migration.down));
    TableIterator::new(rows)
}

#[pg_extern(immutable, parallel_safe)]
fn speaker_store_definitions() -> String {
    DEFINITIONS.concat()
}

/// Raises where a store is of another version than this library works with.
#[pg_extern(immutable, strict, parallel_safe)]
fn speaker_check_store(version: i32) {
    raise(|| match version {
        VERSION => Ok(()),
        _ => Err(SqlError::StoreVersion { store: version, library: VERSION }.into()),
    });
}

extension_sql_file!(
    "../sql/extension/store.sql",
    name = "store",
    requires = [speaker_store_migrations, speaker_store_definitions, speaker_check_store],
);
