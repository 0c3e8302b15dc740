//! The locks of a backfill, for its SQL, and what it has to know of sessions.

use pgrx::prelude::*;

use crate::error::raise;
use crate::lease;

#[pg_extern(volatile, strict, parallel_unsafe)]
fn speaker_enter_backfill(ledger: pg_sys::Oid, alone: bool) {
    raise(|| lease::enter(ledger, alone));
}

#[pg_extern(volatile, strict, parallel_unsafe)]
fn speaker_enter_embedding(ledger: pg_sys::Oid) {
    raise(|| lease::enter_within(ledger));
}

#[pg_extern(volatile, strict, parallel_unsafe)]
fn speaker_leave_embedding(ledger: pg_sys::Oid) {
    lease::leave_within(ledger);
}

#[pg_extern(volatile, strict, parallel_unsafe)]
fn speaker_hold_lease(ledger: pg_sys::Oid, lease: i32) {
    raise(|| lease::hold(ledger, lease));
}

#[pg_extern(volatile, strict, parallel_restricted)]
fn speaker_lease_is_lost(ledger: pg_sys::Oid, lease: i32) -> bool {
    lease::is_lost(ledger, lease)
}

#[pg_extern(volatile, parallel_unsafe)]
fn speaker_leave_backfill() {
    lease::leave();
}

#[pg_extern(stable, parallel_restricted)]
fn speaker_backend_start() -> TimestampWithTimeZone {
    lease::backend_start().try_into().expect("a session began in the range of timestamps")
}

#[pg_extern(volatile, strict, parallel_restricted)]
fn speaker_backend_alive(pid: i32, backend_start: TimestampWithTimeZone) -> bool {
    lease::backend_alive(pid, backend_start.into())
}

#[pg_extern(volatile, parallel_restricted)]
fn speaker_can_commit() -> bool {
    // SAFETY: reads this backend's own state.
    unsafe { pg_sys::SPI_inside_nonatomic_context() }
}

extension_sql!(
    r#"
COMMENT ON FUNCTION speaker_enter_backfill(oid, boolean) IS
    'Waits at the gate of a store, alone for everyone to leave, else for whoever is alone. Only as the owner of the ledger.';
COMMENT ON FUNCTION speaker_enter_embedding(oid) IS
    'Waits at the gate of a store for whoever is alone, until speaker_leave_embedding() or the end of the transaction. Only as the owner of the ledger.';
COMMENT ON FUNCTION speaker_leave_embedding(oid) IS 'Leaves the gate that speaker_enter_embedding() entered.';
COMMENT ON FUNCTION speaker_hold_lease(oid, int) IS
    'Takes the lock of a lease for the session. When the session ends in good order without having left it, the rows of the lease with the session''s pid and backend_start are deleted from the ledger. Only as the owner of the ledger.';
COMMENT ON FUNCTION speaker_lease_is_lost(oid, int) IS 'Whether no session holds the lease. It never waits.';
COMMENT ON FUNCTION speaker_leave_backfill() IS 'Releases the gate and every lease of this session: its work is recorded.';
COMMENT ON FUNCTION speaker_backend_start() IS
    'When this session began: with pg_backend_pid() what speaker_backend_alive() knows it by.';
COMMENT ON FUNCTION speaker_backend_alive(int, timestamptz) IS
    'Whether the session that had this process id, and began then, still lives.';
COMMENT ON FUNCTION speaker_can_commit() IS 'Whether the procedure that calls this could COMMIT.';
"#,
    name = "lease_comments",
    requires = [
        speaker_enter_backfill,
        speaker_enter_embedding,
        speaker_leave_embedding,
        speaker_hold_lease,
        speaker_lease_is_lost,
        speaker_leave_backfill,
        speaker_backend_start,
        speaker_backend_alive,
        speaker_can_commit
    ],
);
