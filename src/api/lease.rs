//! The locks of a backfill, for its SQL.

use pgrx::prelude::*;

use crate::lease;

#[pg_schema]
pub mod speaker {
    use super::*;

    #[pg_extern(volatile, parallel_unsafe)]
    pub fn enter_backfill(alone: bool) {
        lease::enter(alone);
    }

    #[pg_extern(volatile, parallel_unsafe)]
    pub fn hold_lease(lease: i32) {
        lease::hold(lease.unsigned_abs());
    }

    #[pg_extern(volatile, parallel_unsafe)]
    pub fn leave_backfill() {
        lease::leave();
    }

    #[pg_extern(immutable, parallel_safe)]
    pub fn lease_class() -> i32 {
        lease::CLASS as i32
    }
}
