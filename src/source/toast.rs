//! A `bytea` that is not read before somebody asks for its bytes.

use pgrx::callconv::{Arg, ArgAbi};
use pgrx::nullable::Nullable;
use pgrx::{impl_sql_translatable, pg_sys, FromDatum, IntoDatum};

use super::blocks::Blocks;
use crate::interrupts::Interrupts;

/// A `bytea` as it came, an argument or a column of a query's row: perhaps a pointer to where it is stored.
pub struct Bytea(*mut pg_sys::varlena);

impl_sql_translatable!(Bytea, "bytea");

impl Bytea {
    /// Reads it in slices. Where it is stored out of line and uncompressed (STORAGE EXTERNAL), a slice costs no more
    /// than its own bytes; a compressed value would be unpacked anew for each, so it is unpacked once.
    pub fn open<'a>(&self, interrupts: &'a Interrupts) -> Blocks<'a> {
        let mut len = 0;
        let mut unpacked = None;
        interrupts.keep(|| {
            // SAFETY: the pointer is an argument of the running call or of a row that it holds, which outlive the reader.
            unsafe {
                len = pg_sys::toast_raw_datum_size(pg_sys::Datum::from(self.0)) - size_of::<i32>();
                let stored = pg_sys::toast_datum_size(pg_sys::Datum::from(self.0));
                if stored < len {
                    unpacked = Some(Unpacked(pg_sys::pg_detoast_datum(self.0)));
                }
            }
        });
        let stored = self.0;
        Blocks::new(len as u64, interrupts, move |at, count| {
            let value = unpacked.as_ref().map_or(stored, |unpacked| unpacked.0);
            // SAFETY: as above; PostgreSQL bounds the slice by the value.
            unsafe { pg_sys::pg_detoast_datum_slice(value, at as i32, count as i32) }
        })
    }
}

/// What detoasting allocated: a query may bring many recordings, and one at a time is enough.
struct Unpacked(*mut pg_sys::varlena);

impl Drop for Unpacked {
    fn drop(&mut self) {
        // SAFETY: it was allocated above, in a memory context that outlives the reader.
        unsafe { pg_sys::pfree(self.0.cast()) };
    }
}

impl IntoDatum for Bytea {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.0.into())
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::BYTEAOID
    }
}

impl FromDatum for Bytea {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        (!is_null && !datum.is_null()).then(|| Self(datum.cast_mut_ptr()))
    }
}

// SAFETY: the SQL signature says `bytea`, which is a varlena.
unsafe impl<'fcx> ArgAbi<'fcx> for Bytea {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as the trait asks of the caller.
        unsafe { arg.unbox_arg_using_from_datum() }.expect("a strict argument is not null")
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: as the trait asks of the caller.
        unsafe { arg.unbox_arg_using_from_datum() }.into()
    }
}
