//! A large object, for those who may read it. PostgreSQL's own functions open and read it.

use std::cell::Cell;

use pgrx::{direct_function_call, direct_function_call_as_datum, pg_sys, IntoDatum};

use super::blocks::Blocks;
use super::{missing, rights};
use crate::error::Report;
use crate::interrupts::Interrupts;

const INV_READ: i32 = 0x0004_0000;
const SEEK_SET: i32 = 0;
const SEEK_END: i32 = 2;

/// An open descriptor, closed when it goes.
struct Descriptor(i32);

impl Descriptor {
    fn seek(&self, offset: i64, whence: i32) -> u64 {
        let args = [self.0.into_datum(), offset.into_datum(), whence.into_datum()];
        // SAFETY: the function's arguments are (int4, int8, int4), its result int8.
        let at: Option<i64> = unsafe { direct_function_call(pg_sys::be_lo_lseek64, &args) };
        at.map_or(0, i64::unsigned_abs)
    }

    fn read(&self, count: usize) -> *mut pg_sys::varlena {
        let args = [self.0.into_datum(), (count as i32).into_datum()];
        // SAFETY: the function's arguments are (int4, int4), its result a new bytea.
        unsafe { direct_function_call_as_datum(pg_sys::be_loread, &args) }
            .expect("a read gives bytes, if none")
            .cast_mut_ptr()
    }
}

pub fn open<'a>(oid: pg_sys::Oid, named_by: Option<&str>, interrupts: &'a Interrupts) -> Result<Blocks<'a>, Report> {
    let opened = Cell::new(None);
    let refused = interrupts.keep(|| {
        // SAFETY: PostgreSQL looks into its catalogue; what it raises is caught at its border, as pgrx does.
        if !unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| LargeObjectExists(oid)) } {
            return Err(missing(format!("large object {oid}")));
        }
        rights::check_large_object(oid, named_by)?;
        let args = [oid.into_datum(), INV_READ.into_datum()];
        // SAFETY: the function's arguments are (oid, int4), its result int4.
        let descriptor: Option<i32> = unsafe { direct_function_call(pg_sys::be_lo_open, &args) };
        let descriptor = Descriptor(descriptor.expect("a large object opens or raises"));
        let len = descriptor.seek(0, SEEK_END);
        opened.set(Some((descriptor, len)));
        Ok(())
    });
    if let Some(Err(refused)) = refused {
        return Err(refused);
    }
    let (descriptor, len) = opened.take().unwrap_or((Descriptor(-1), 0));
    Ok(Blocks::new(len, interrupts, move |at, count| {
        descriptor.seek(at as i64, SEEK_SET);
        descriptor.read(count)
    }))
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // After an error PostgreSQL has closed it, or will, with the transaction.
        if self.0 >= 0 && !std::thread::panicking() {
            pgrx::PgTryBuilder::new(|| {
                // SAFETY: the function's argument is int4.
                unsafe { direct_function_call_as_datum(pg_sys::be_lo_close, &[self.0.into_datum()]) };
            })
            .catch_others(|_| ())
            .execute();
        }
    }
}

unsafe extern "C-unwind" {
    /// catalog/pg_largeobject.h; pgrx does not bind it.
    fn LargeObjectExists(oid: pg_sys::Oid) -> bool;
}
