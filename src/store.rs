//! The store: its migrations and the definitions of today, as text with places for the names of three schemas.
//!
//! A store is an ordinary schema of an ordinary role. What stands here is only text; `sql/extension/store.sql` runs it.
//! Tables come by numbered migrations. Functions, triggers and views are the same in every store of a version, so they
//! are made anew as a whole, after the migrations that are missing: that also heals a store whose schema, or whose
//! extension's, has another name now.

use pgrx::prelude::*;

use crate::error::{raise, Report, SqlError};

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

/// Runs statements with the rights of a role, as PostgreSQL's own maintenance does with those of a table's owner: what that
/// role has put in their way (a trigger, a policy, a view) runs too, and must not get at the role of whoever maintains it.
#[pg_extern(volatile, strict, parallel_unsafe)]
fn speaker_run_as(role: pg_sys::Oid, statements: &str) {
    raise(|| run_as(role, statements));
}

fn run_as(role: pg_sys::Oid, statements: &str) -> Result<(), Report> {
    const RESTRICTED: u32 = pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
    let (mut user, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: this backend's own state. An error aborts the transaction, or the one within it, which gives both back.
    let settings = unsafe {
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        if !pg_sys::has_privs_of_role(user, role) {
            return Err(SqlError::StoreOfOthers.into());
        }
        // SPI would ask for a transaction's id first, and a standby's answer to that is an internal error.
        pg_sys::PreventCommandDuringRecovery(c"changes of a store".as_ptr());
        pg_sys::SetUserIdAndSecContext(role, context | RESTRICTED as i32);
        pg_sys::NewGUCNestLevel()
    };
    Spi::run(statements).expect("statements run, or raise");
    // SAFETY: as above. No setting stays as that role's code may have left it.
    unsafe {
        pg_sys::AtEOXact_GUC(false, settings);
        pg_sys::SetUserIdAndSecContext(user, context);
    }
    Ok(())
}

extension_sql_file!(
    "../sql/extension/store.sql",
    name = "store",
    requires = [speaker_store_migrations, speaker_store_definitions, speaker_check_store, speaker_run_as],
);
