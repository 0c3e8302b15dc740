//! Locks of a backfill that outlive a transaction, and never a failed one, nor their session.
//!
//! A claim is committed in one transaction and worked on in the next, so its locks belong to the session. A session's
//! locks survive an error, though: after a cancel an idle connection of a pool would hold them for ever. Hence a
//! callback: whatever aborts a transaction of this session releases them.
//!
//! A lease that nobody holds, of a session that is gone, is the mark of a crash. So a session that ends in good order
//! (its client went, an administrator ended it, the server is shut down) gives back what it had claimed: it deletes the
//! row of the lease from the ledger, and a trigger of that table does the rest. A session that was killed cannot.
//!
//! Who embeds within a transaction is at the gate, too, for as long as it embeds: what it does to the server must not be
//! blamed on a segment that is tried alone. That lock is the transaction's.
//!
//! The locks are of PostgreSQL's advisory kind, with numbers that no SQL function makes: nobody takes them but through
//! here, and only the owner of the ledger, which is a table of a store and its identity: stores do not meet.

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;

use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::{pg_guard, pg_sys, PgLogLevel, PgSqlErrorCode, PgTryBuilder, Spi};

use crate::error::{Report, SqlError};

/// `locktag_field4`: `pg_advisory_lock()` has 1 and 2.
const LEASE: u16 = 3;
const GATE: u16 = 4;

const ALONE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
const SHARED: pg_sys::LOCKMODE = pg_sys::ShareLock as pg_sys::LOCKMODE;

#[derive(Clone, Copy)]
struct Lock {
    ledger: pg_sys::Oid,
    key: u32,
    kind: u16,
    mode: pg_sys::LOCKMODE,
}

/// A lease that was held and not left; perhaps its lock is gone by an abort.
#[derive(Clone, Copy, PartialEq)]
struct Unfinished {
    ledger: pg_sys::Oid,
    lease: i32,
    /// Who held it for the session: the ledger's owner.
    owner: pg_sys::Oid,
}

thread_local! {
    static HELD: RefCell<Vec<Lock>> = const { RefCell::new(Vec::new()) };
    static UNFINISHED: RefCell<Vec<Unfinished>> = const { RefCell::new(Vec::new()) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
    static ENDING: Cell<bool> = const { Cell::new(false) };
}

/// Waits at the gate: `alone` for everyone to leave, else for whoever is alone.
pub fn enter(ledger: pg_sys::Oid, alone: bool) -> Result<(), Report> {
    owner_of(ledger)?;
    acquire(Lock { ledger, key: 0, kind: GATE, mode: if alone { ALONE } else { SHARED } });
    Ok(())
}

/// Waits at the gate for whoever is alone, within a transaction: until `leave_within`, or the transaction or savepoint ends.
pub fn enter_within(ledger: pg_sys::Oid) -> Result<(), Report> {
    owner_of(ledger)?;
    let tag = tag(&Lock { ledger, key: 0, kind: GATE, mode: SHARED });
    // SAFETY: a tag on the stack, which LockAcquire copies. It raises if it is interrupted, and then holds nothing.
    as_transaction(|| unsafe { pg_sys::LockAcquire(&raw const tag, SHARED, false, false) });
    Ok(())
}

/// Ends `enter_within`; nothing, where it has ended already.
pub fn leave_within(ledger: pg_sys::Oid) {
    let tag = tag(&Lock { ledger, key: 0, kind: GATE, mode: SHARED });
    // SAFETY: a tag on the stack.
    as_transaction(|| unsafe {
        if held_by_me(&tag, SHARED) {
            pg_sys::LockRelease(&raw const tag, SHARED, false);
        }
    });
}

/// Locks belong to what acquires them, and that may be one statement while another one releases them: so both do it as the
/// transaction, or the savepoint.
fn as_transaction<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: plain variables of this backend. Should `work` raise, the abort sets the first anew.
    unsafe {
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::CurrentResourceOwner = pg_sys::CurTransactionResourceOwner;
        let answer = work();
        pg_sys::CurrentResourceOwner = owner;
        answer
    }
}

/// Takes the lock of a lease.
pub fn hold(ledger: pg_sys::Oid, lease: i32) -> Result<(), Report> {
    let owner = owner_of(ledger)?;
    acquire(Lock { ledger, key: lease.cast_unsigned(), kind: LEASE, mode: ALONE });
    UNFINISHED.with_borrow_mut(|unfinished| {
        let lease = Unfinished { ledger, lease, owner };
        if !unfinished.contains(&lease) {
            unfinished.push(lease);
        }
    });
    Ok(())
}

/// Whether no session holds a lease. Nobody waits for the answer, nor for somebody else who asks.
pub fn is_lost(ledger: pg_sys::Oid, lease: i32) -> bool {
    let tag = tag(&Lock { ledger, key: lease.cast_unsigned(), kind: LEASE, mode: SHARED });
    // SAFETY: a tag on the stack, which these copy. Without waiting the lock is there at once, or not at all, and it is
    // released at once.
    unsafe {
        if held_by_me(&tag, ALONE) {
            return false;
        }
        if pg_sys::LockAcquire(&raw const tag, SHARED, true, true) == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
            return false;
        }
        pg_sys::LockRelease(&raw const tag, SHARED, true);
    }
    true
}

/// Releases what this session holds: its work is done, and recorded.
pub fn leave() {
    release();
    UNFINISHED.take();
}

fn release() {
    for lock in HELD.take() {
        let tag = tag(&lock);
        // SAFETY: the lock was acquired below, for the session.
        unsafe { pg_sys::LockRelease(&raw const tag, lock.mode, true) };
    }
}

fn acquire(lock: Lock) {
    if !REGISTERED.replace(true) {
        // SAFETY: functions of this library, which is never unloaded.
        unsafe {
            pg_sys::RegisterXactCallback(Some(transaction_ended), std::ptr::null_mut());
            pg_sys::before_shmem_exit(Some(session_ends), pg_sys::Datum::null());
        }
    }
    let tag = tag(&lock);
    // SAFETY: a tag on the stack, which LockAcquire copies. It raises if it is interrupted, and then holds nothing.
    unsafe { pg_sys::LockAcquire(&raw const tag, lock.mode, true, false) };
    HELD.with_borrow_mut(|held| held.push(lock));
}

fn tag(lock: &Lock) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: set once, when the backend connects to its database.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: lock.ledger.to_u32(),
        locktag_field3: lock.key,
        locktag_field4: lock.kind,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

unsafe fn held_by_me(tag: &pg_sys::LOCKTAG, mode: pg_sys::LOCKMODE) -> bool {
    // SAFETY: the caller's tag; a look into this backend's own table.
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    return unsafe { pg_sys::LockHeldByMe(tag, mode) };
    // SAFETY: as above.
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    return unsafe { pg_sys::LockHeldByMe(tag, mode, false) };
}

/// The owner of a ledger, if it is the current user: a function of the store that runs as its owner. What a session
/// claims ends with rights of that owner, so those of a member of its role, or of a superuser, are not enough.
fn owner_of(ledger: pg_sys::Oid) -> Result<pg_sys::Oid, Report> {
    // SAFETY: reads this backend's own state.
    let user = unsafe { pg_sys::GetUserId() };
    match owner(ledger) {
        Some(owner) if owner == user => Ok(owner),
        _ => Err(SqlError::LedgerForbidden { ledger: ledger.to_u32() }.into()),
    }
}

fn owner(relation: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let key = pg_sys::Datum::from(relation);
    // SAFETY: a look into the cache of pg_class, whose rows have this layout; what is found is released.
    unsafe {
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, key);
        if row.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(row);
        Some(owner)
    }
}

unsafe extern "C-unwind" fn transaction_ended(event: pg_sys::XactEvent::Type, _: *mut std::ffi::c_void) {
    // A session that ends keeps them until its claims are given back: others would take it for one that crashed.
    if event == pg_sys::XactEvent::XACT_EVENT_ABORT && !ENDING.get() {
        release();
    }
}

/// Gives back what this session had claimed, then releases its locks.
#[pg_guard]
unsafe extern "C-unwind" fn session_ends(_code: std::ffi::c_int, _none: pg_sys::Datum) {
    ENDING.set(true);
    let unfinished = UNFINISHED.take();
    if !unfinished.is_empty() {
        // SAFETY: PostgreSQL calls this once, before it takes down what a transaction needs.
        unsafe { while_alive(|| unfinished.into_iter().for_each(give_back)) };
    }
    release();
}

/// Runs `work` in a session that ends as in one that lives.
///
/// While a process ends, PostgreSQL holds off interrupts, and any error is fatal: a lock would be waited for without
/// lock_timeout, for ever. So it is told that the end has not begun, for as long as this takes. What comes to end it
/// again, by force or by a second request, does.
unsafe fn while_alive(work: impl FnOnce()) {
    // SAFETY: plain variables of this backend, on its only thread. The reasons to end that led here are done with; left
    // pending, they would end this too. Nobody listens any more: what is said would fail at the client's socket.
    unsafe {
        let held_off = pg_sys::InterruptHoldoffCount;
        let listener = pg_sys::whereToSendOutput;
        disable_all_timeouts(false);
        pg_sys::proc_exit_inprogress = false;
        pg_sys::InterruptHoldoffCount = 0;
        pg_sys::ProcDiePending = 0;
        pg_sys::QueryCancelPending = 0;
        pg_sys::ClientConnectionLost = 0;
        pg_sys::IdleSessionTimeoutPending = 0;
        pg_sys::IdleInTransactionSessionTimeoutPending = 0;
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        {
            pg_sys::TransactionTimeoutPending = 0;
        }
        pg_sys::whereToSendOutput = pg_sys::CommandDest::DestNone;
        work();
        pg_sys::whereToSendOutput = listener;
        pg_sys::InterruptHoldoffCount = held_off;
        pg_sys::proc_exit_inprogress = true;
    }
}

/// Settings of a session that must not decide how its claims are given back.
const SETTINGS: [(&std::ffi::CStr, &std::ffi::CStr); 5] = [
    (c"search_path", c"pg_catalog, pg_temp"),
    (c"lock_timeout", c"1s"),
    (c"default_transaction_isolation", c"read committed"),
    (c"default_transaction_read_only", c"off"),
    // A standby that does not answer must not keep a session from ending.
    (c"synchronous_commit", c"local"),
];

/// Deletes the row of a lease from its ledger, as the ledger's owner. What fails is left to whoever finds the lease lost.
fn give_back(lease: Unfinished) {
    let failed = PgTryBuilder::new(AssertUnwindSafe(|| {
        // SAFETY: the order in which PostgreSQL itself begins and ends a transaction outside of a query, as it does when
        // it removes temporary tables at the end of a session. Each setting's name and value are C strings.
        unsafe {
            pg_sys::AbortOutOfAnyTransaction();
            for (name, value) in SETTINGS {
                let context = pg_sys::GucContext::PGC_USERSET;
                pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), context, pg_sys::GucSource::PGC_S_SESSION);
            }
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            delete(lease);
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        None
    }))
    .catch_others(Some)
    .execute();
    if let Some(error) = failed {
        PgTryBuilder::new(|| {
            // SAFETY: after an error, as PostgreSQL's main loop would.
            unsafe {
                pg_sys::FlushErrorState();
                pg_sys::AbortOutOfAnyTransaction();
            }
        })
        .catch_others(|_| ())
        .execute();
        // For the server's log; the client is gone.
        let (lease, why) = (lease.lease, reason(&error));
        ErrorReport::new(
            PgSqlErrorCode::ERRCODE_WARNING,
            format!("lease {lease} was not given back: {why}"),
            "give_back",
        )
        .report(PgLogLevel::LOG);
    }
}

fn reason(error: &CaughtError) -> &str {
    match error {
        CaughtError::PostgresError(error) | CaughtError::ErrorReport(error) => error.message(),
        CaughtError::RustPanic { ereport, .. } => ereport.message(),
    }
}

unsafe fn delete(Unfinished { ledger, lease, owner: then }: Unfinished) {
    // Whoever owns it by now may not have been asked.
    if owner(ledger) != Some(then) {
        return;
    }
    // SAFETY: the ledger exists, as its owner was found. The rights of its owner are taken, who held the lease, and given
    // back with the transaction if not below.
    unsafe {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
        pg_sys::SetUserIdAndSecContext(then, context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32);
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(ledger));
        let table = pg_sys::quote_qualified_identifier(schema, pg_sys::get_rel_name(ledger));
        let delete = format!(
            "DELETE FROM {} WHERE lease OPERATOR(pg_catalog.=) $1 AND pid OPERATOR(pg_catalog.=) $2 \
             AND backend_start OPERATOR(pg_catalog.=) $3",
            std::ffi::CStr::from_ptr(table).to_string_lossy()
        );
        let started: TimestampWithTimeZone = backend_start().try_into().expect("a session began in our time");
        let arguments = [lease.into(), pg_sys::MyProcPid.into(), started.into()];
        Spi::connect_mut(|client| client.update(delete.as_str(), None, &arguments).map(|_| ()))
            .expect("the statement is a DELETE");
        pg_sys::SetUserIdAndSecContext(user, context);
    }
}

/// When this session began, as pg_stat_activity shows it.
pub fn backend_start() -> pg_sys::TimestampTz {
    // SAFETY: set once, when the backend starts.
    unsafe { pg_sys::MyStartTimestamp }
}

/// Whether the session that had this process id and began then still lives.
pub fn backend_alive(pid: i32, started: pg_sys::TimestampTz) -> bool {
    // SAFETY: PostgreSQL copies what it knows of its sessions, anew because a transaction's copy may be old, and what it
    // gives back stays until the next copy.
    unsafe {
        pg_sys::pgstat_clear_backend_activity_snapshot();
        (1..=pg_sys::pgstat_fetch_stat_numbackends()).any(|index| {
            #[cfg(feature = "pg15")]
            let session = pg_sys::pgstat_fetch_stat_local_beentry(index);
            #[cfg(not(feature = "pg15"))]
            let session = pg_sys::pgstat_get_local_beentry_by_index(index);
            !session.is_null() && {
                let status = &(*session).backendStatus;
                (status.st_procpid, status.st_proc_start_timestamp) == (pid, started)
            }
        })
    }
}

unsafe extern "C-unwind" {
    /// utils/timeout.h; pgrx does not bind it. It raises nothing.
    fn disable_all_timeouts(keep_indicators: bool);
}
