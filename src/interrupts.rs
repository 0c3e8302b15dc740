//! How core's `Check` hears PostgreSQL: cancel, statement_timeout and termination.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{pg_sys, PgTryBuilder};

/// Interrupts of this backend, for one piece of work.
///
/// `check` lets PostgreSQL process what is pending. If that raises an error it is kept, core unwinds in its own time
/// with its `Interrupted`, and `rethrow` raises what was kept: no error of PostgreSQL's passes through core's frames.
#[derive(Default)]
pub struct Interrupts {
    caught: RefCell<Option<CaughtError>>,
}

impl Interrupts {
    /// For core's `Check`. Cheap where nothing is pending: one load.
    pub fn check(&self) -> ControlFlow<()> {
        if self.caught.borrow().is_some() {
            return ControlFlow::Break(());
        }
        if !pg_sys::elog::interrupt_pending() {
            return ControlFlow::Continue(());
        }
        let raised = PgTryBuilder::new(|| {
            pgrx::check_for_interrupts!();
            None
        })
        .catch_others(Some)
        .execute();
        match raised {
            None => ControlFlow::Continue(()),
            Some(error) => {
                self.caught.replace(Some(error));
                ControlFlow::Break(())
            }
        }
    }

    /// Calls PostgreSQL. An error that it raises is kept: there is no value, and every later check breaks.
    pub fn keep<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        let call = AssertUnwindSafe(call);
        let raised = PgTryBuilder::new(AssertUnwindSafe(|| Ok({ call }.0())))
            .catch_others(|error| Err(Box::new(error)))
            .execute();
        raised.map_err(|error| self.caught.replace(Some(*error))).ok()
    }

    /// Raises the error that made `check` break, if one did.
    pub fn rethrow(&self) {
        if let Some(error) = self.caught.take() {
            error.rethrow();
        }
    }
}
