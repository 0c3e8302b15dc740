//! Threads for the duration of one loop, interruptible by the caller.
//!
//! The calling thread works too, and it alone asks `Check`: workers see nothing but a stop flag. So a caller whose
//! `Check` may only run on its own thread (a PostgreSQL backend) can still lend this module more cores.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::ClusterError;
use crate::Check;

#[derive(Clone, Copy)]
pub(super) struct Crew<'a> {
    threads: usize,
    check: Check<'a>,
}

impl<'a> Crew<'a> {
    pub(super) fn new(threads: usize, check: Check<'a>) -> Self {
        Crew { threads: threads.max(1), check }
    }

    pub(super) fn check(&self) -> Result<(), ClusterError> {
        match (self.check)() {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ClusterError::Interrupted),
        }
    }

    /// For loops of small steps: asks every few thousand of them.
    pub(super) fn check_at(&self, step: usize) -> Result<(), ClusterError> {
        const EVERY: usize = 2048;
        match step % EVERY {
            0 => self.check(),
            _ => Ok(()),
        }
    }

    /// Runs `work` once for each of `0..tasks`, in no fixed order, and returns the state of each thread that took part.
    ///
    /// A task should take a few milliseconds at most: interruption is noticed between tasks.
    pub(super) fn run<S: Send>(
        &self,
        tasks: usize,
        state: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, usize) + Sync,
    ) -> Result<Vec<S>, ClusterError> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&task| task < tasks);
        let finished = Mutex::new(Vec::new());
        let finish = |state| finished.lock().unwrap_or_else(PoisonError::into_inner).push(state);

        let outcome = std::thread::scope(|scope| {
            for _ in 1..self.threads.min(tasks) {
                let worker = || {
                    let mut own = state();
                    while !stop.load(Ordering::Relaxed) {
                        let Some(task) = take() else { break };
                        work(&mut own, task);
                    }
                    finish(own);
                };
                // A machine that refuses a thread only makes us slower.
                if std::thread::Builder::new().spawn_scoped(scope, worker).is_err() {
                    break;
                }
            }
            let mut own = state();
            let outcome = loop {
                if let Err(interrupted) = self.check() {
                    stop.store(true, Ordering::Relaxed);
                    break Err(interrupted);
                }
                let Some(task) = take() else { break Ok(()) };
                work(&mut own, task);
            };
            finish(own);
            outcome
        });
        outcome.map(|()| finished.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}
