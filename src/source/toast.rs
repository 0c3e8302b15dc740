//! A `bytea` argument that is not read before somebody asks for its bytes.

use pgrx::callconv::{Arg, ArgAbi};
use pgrx::nullable::Nullable;
use pgrx::{impl_sql_translatable, pg_sys, FromDatum};

use super::blocks::Blocks;
use crate::interrupts::Interrupts;

/// A `bytea` as it came: perhaps a pointer to where it is stored.
pub struct Bytea(*mut pg_sys::varlena);

impl_sql_translatable!(Bytea, "bytea");

impl Bytea {
    /// Reads it in slices. Where it is stored out of line and uncompressed (STORAGE EXTERNAL), a slice costs no more
    /// than its own bytes; a compressed value would be unpacked anew for each, so it is unpacked once.
    pub fn open<'a>(&self, interrupts: &'a Interrupts) -> Blocks<'a> {
        let mut value = self.0;
        let mut len = 0;
        interrupts.keep(|| {
            // SAFETY: the pointer is an argument of the running call, which outlives the reader.
            unsafe {
                len = pg_sys::toast_raw_datum_size(pg_sys::Datum::from(value)) - size_of::<i32>();
                let stored = pg_sys::toast_datum_size(pg_sys::Datum::from(value));
                if stored < len {
                    value = pg_sys::pg_detoast_datum(value);
                }
            }
        });
        Blocks::new(len as u64, interrupts, move |at, count| {
            // SAFETY: as above; PostgreSQL bounds the slice by the value.
            unsafe { pg_sys::pg_detoast_datum_slice(value, at as i32, count as i32) }
        })
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
