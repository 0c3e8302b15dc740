//! The state of an aggregate as a Rust value that lives, and is dropped, with the aggregate's memory context.
//!
//! Unsafe code has a second home here: PostgreSQL hands the state from call to call as an untyped pointer, and takes a row
//! that an aggregate ends in as untyped columns.

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::{impl_sql_translatable, pg_sys, Internal, PgMemoryContexts};

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

/// A value of a named composite type, as a function returns it.
pub struct Row(pg_sys::Datum);

// Functions that return one name its type in SQL of their own.
impl_sql_translatable!(Row, "record");

impl Row {
    /// A row of the type that the running function returns; None is NULL.
    ///
    /// # Safety
    ///
    /// `fcinfo` is that of the running call, and the columns are of the types of the SQL declaration, in its order.
    pub unsafe fn new<const N: usize>(fcinfo: pg_sys::FunctionCallInfo, columns: [Option<pg_sys::Datum>; N]) -> Self {
        let mut nulls = columns.map(|column| column.is_none());
        let mut values = columns.map(|column| column.unwrap_or(pg_sys::Datum::null()));
        let mut shape = std::ptr::null_mut();
        // SAFETY: fcinfo is as the caller says, and shape has room for the answer.
        let class = unsafe { pg_sys::get_call_result_type(fcinfo, std::ptr::null_mut(), &mut shape) };
        assert!(class == pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE, "the function returns a composite type");
        // SAFETY: get_call_result_type made it, as the class says.
        let natts = unsafe { (*shape).natts };
        assert!(natts as usize == N, "a row has {N} columns, but its type {natts}");
        // SAFETY: as many values and nulls as columns, seen above, of their types, as the caller says.
        unsafe {
            let tuple = pg_sys::heap_form_tuple(shape, values.as_mut_ptr(), nulls.as_mut_ptr());
            Row(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data))
        }
    }
}

// SAFETY: the SQL declaration names the composite type whose shape `new` took from there.
unsafe impl BoxRet for Row {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        // SAFETY: a datum of the function's return type, in the memory context of the call.
        unsafe { fcinfo.return_raw_datum(self.0) }
    }
}
