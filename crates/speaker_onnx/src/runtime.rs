//! The one ONNX Runtime environment of a process.

use std::path::Path;
use std::sync::{Mutex, OnceLock};

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use ort::environment::Environment;

use crate::OnnxError;

/// ONNX Runtime, loaded. It stays until the process ends: its threads and its library cannot be unloaded safely.
pub struct Runtime {
    pub(crate) environment: Environment,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

impl Runtime {
    /// Loads the library on the first call; later calls answer the same runtime, whatever their path.
    pub fn load(path: &Path) -> Result<&'static Self, OnnxError> {
        let _one_at_a_time = LOADING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime);
        }
        let failed = |detail: String| OnnxError::Library { path: path.into(), detail };
        // Newer libraries upload telemetry from a thread of their own unless told otherwise before they start.
        std::env::set_var("ORT_DISABLE_TELEMETRY", "1");
        let environment = without_signals(|| {
            let builder = ort::init_from(path).map_err(|error| failed(error.to_string()))?;
            builder.with_name("pg_speaker").with_telemetry(false).build().map_err(|error| failed(error.to_string()))
        })?;
        Ok(RUNTIME.get_or_init(|| Self { environment }))
    }
}

/// Runs `work` with signals blocked, but for those that a thread raises by its own fault. Threads that it starts inherit
/// the mask, so that PostgreSQL's signal handlers run on the backend's own thread only.
pub fn without_signals<T>(work: impl FnOnce() -> T) -> T {
    /// Restores the mask even if `work` unwinds.
    struct Restore(Option<SigSet>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(before) = self.0 {
                // It was the mask a moment ago, so it is a valid one.
                let _ = before.thread_set_mask();
            }
        }
    }
    let mut blocked = SigSet::all();
    for fault in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGABRT, Signal::SIGTRAP] {
        blocked.remove(fault);
    }
    let _restore = Restore(blocked.thread_swap_mask(SigmaskHow::SIG_SETMASK).ok());
    work()
}
