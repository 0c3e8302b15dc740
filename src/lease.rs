//! Locks of a backfill that outlive a transaction, and never a failed one.
//!
//! A claim is committed in one transaction and worked on in the next, so its locks belong to the session. A session's
//! advisory locks survive an error, though: after a cancel an idle connection of a pool would hold them for ever.
//! Hence the callback: whatever aborts a transaction of this session releases them.

use std::cell::{Cell, RefCell};

use pgrx::pg_sys;

/// The first key of our advisory locks: a number of our own. The second is a lease, or 0 for the gate.
pub const CLASS: u32 = 0x5350_4b52;

const GATE: u32 = 0;

type Held = (u32, pg_sys::LOCKMODE);

thread_local! {
    static HELD: RefCell<Vec<Held>> = const { RefCell::new(Vec::new()) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Waits at the gate: `alone` for everyone to leave, else for whoever is alone.
pub fn enter(alone: bool) {
    let mode = if alone { pg_sys::ExclusiveLock } else { pg_sys::ShareLock };
    acquire(GATE, mode as pg_sys::LOCKMODE);
}

/// Takes the lock of a lease.
pub fn hold(lease: u32) {
    acquire(lease, pg_sys::ExclusiveLock as pg_sys::LOCKMODE);
}

/// Releases what this session holds.
pub fn leave() {
    for (key, mode) in HELD.take() {
        let tag = tag(key);
        // SAFETY: the lock was acquired below, for the session.
        unsafe { pg_sys::LockRelease(&raw const tag, mode, true) };
    }
}

fn acquire(key: u32, mode: pg_sys::LOCKMODE) {
    if !REGISTERED.replace(true) {
        // SAFETY: a function of this library, which is never unloaded.
        unsafe { pg_sys::RegisterXactCallback(Some(transaction_ended), std::ptr::null_mut()) };
    }
    let tag = tag(key);
    // SAFETY: a tag on the stack, which LockAcquire copies. It raises if it is interrupted, and then holds nothing.
    unsafe { pg_sys::LockAcquire(&raw const tag, mode, true, false) };
    HELD.with_borrow_mut(|held| held.push((key, mode)));
}

/// As `pg_advisory_lock(int, int)` makes it.
fn tag(key: u32) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: set once, when the backend connects to its database.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: CLASS,
        locktag_field3: key,
        locktag_field4: 2,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

unsafe extern "C-unwind" fn transaction_ended(event: pg_sys::XactEvent::Type, _: *mut std::ffi::c_void) {
    if event == pg_sys::XactEvent::XACT_EVENT_ABORT {
        leave();
    }
}
