//! The state of an aggregate as a Rust value that lives, and is dropped, with the aggregate's memory context.
//!
//! Unsafe code has a second home here: PostgreSQL hands the state from call to call as an untyped pointer.

use pgrx::{pg_sys, Internal, PgMemoryContexts};

/// Lends the state, made at the first call, and gives back what a transition function returns.
///
/// # Safety
///
/// `state` is the state of an aggregate whose every function takes it for a `T`.
pub unsafe fn with_state<T>(
    mut state: Internal,
    fcinfo: pg_sys::FunctionCallInfo,
    make: impl FnOnce() -> T,
    work: impl FnOnce(&mut T),
) -> Internal {
    if !state.initialized() {
        let mut context = std::ptr::null_mut();
        // SAFETY: fcinfo is that of the running call, and context has room for the answer.
        let kind = unsafe { pg_sys::AggCheckCallContext(fcinfo, &mut context) };
        assert!(kind != 0, "a transition function is called by its aggregate only");
        let value = make();
        // SAFETY: a memory context that lives as long as the aggregate, as AggCheckCallContext said.
        state = unsafe {
            PgMemoryContexts::For(context)
                .switch_to(|context| Internal::from(Some(context.leak_and_drop_on_delete(value).into())))
        };
    }
    // SAFETY: the caller vouches for the type; nobody else holds the state during this call.
    work(unsafe { state.get_mut() }.expect("the state was made above"));
    state
}
