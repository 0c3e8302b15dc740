//! pgvector's `vector` as a Rust value, and back. The home of this crate's unsafe code.
//!
//! The layout is pgvector's `struct Vector` (src/vector.h): the varlena header, a u16 dimension, a u16 that is zero, and
//! that many f32. Its type has no fixed OID, so values are recognised by the SQL signature alone.

use std::mem::{offset_of, size_of};

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::UnboxDatum;
use pgrx::nullable::Nullable;
use pgrx::{impl_sql_translatable, pg_sys, FromDatum, IntoDatum};

use crate::error::SqlError;

/// An owned `vector`.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector(Vec<f32>);

impl_sql_translatable!(Vector, "vector");

/// pgvector's limit on dimensions.
pub const MAX_DIM: usize = 16_000;

/// Refuses vectors of different models.
pub fn same_dim(left: usize, right: usize) -> Result<(), SqlError> {
    if left == right {
        Ok(())
    } else {
        Err(SqlError::Dimensions { left, right })
    }
}

#[repr(C)]
struct Header {
    varlena: i32,
    dim: u16,
    unused: u16,
}

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 8 && offset_of!(Header, dim) == 4 && offset_of!(Header, unused) == 6);

impl Vector {
    /// Takes the values; there are 1 to `MAX_DIM` of them, by the models' manifests.
    pub fn new(values: Vec<f32>) -> Self {
        assert!((1..=MAX_DIM).contains(&values.len()), "a vector has 1 to {MAX_DIM} dimensions");
        Self(values)
    }

    /// The values.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The values, owned.
    pub fn into_vec(self) -> Vec<f32> {
        self.0
    }
}

impl FromDatum for Vector {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, oid: pg_sys::Oid) -> Option<Self> {
        // SAFETY: as the trait asks of the caller.
        let borrowed = unsafe { VectorRef::from_polymorphic_datum(datum, is_null, oid) }?;
        let values = Self(borrowed.values.to_vec());
        if let Some(copy) = borrowed.copy {
            // SAFETY: the copy was palloc'd by pg_detoast_datum and nothing refers to it any more.
            unsafe { pg_sys::pfree(copy.cast()) };
        }
        Some(values)
    }
}

/// A `vector` argument, read in place.
pub struct VectorRef<'fcx> {
    values: &'fcx [f32],
    /// What detoasting allocated; it goes with the memory context of the call.
    copy: Option<*mut pg_sys::varlena>,
}

impl_sql_translatable!(VectorRef<'_>, "vector");

impl VectorRef<'_> {
    /// The values.
    pub fn as_slice(&self) -> &[f32] {
        self.values
    }

    /// Asks the processor for the two rows that a scan reads next. PostgreSQL fills a page from its end, so these are most
    /// likely the ones right below this; the processor itself expects what lies above. A wrong guess costs nanoseconds.
    pub fn prefetch_next_rows(&self) {
        #[cfg(target_arch = "x86_64")]
        if self.copy.is_none() {
            use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
            const LINE: usize = 64;
            /// Of a row: its header and the columns before the vector.
            const BEFORE: usize = 256;
            let bytes = (2 * (size_of_val(self.values) + BEFORE)).min(pg_sys::BLCKSZ as usize);
            let here = self.values.as_ptr().cast::<i8>();
            for line in (1..=bytes / LINE).rev() {
                // SAFETY: a prefetch reads nothing, whatever the address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(here.wrapping_sub(line * LINE)) };
            }
        }
    }
}

impl FromDatum for VectorRef<'_> {
    unsafe fn from_polymorphic_datum(datum: pg_sys::Datum, is_null: bool, _: pg_sys::Oid) -> Option<Self> {
        if is_null || datum.is_null() {
            return None;
        }
        let packed = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the argument's type is `vector`, a varlena; detoasting yields a four-byte header, aligned by palloc. What
        // has such a header already is aligned by its row, and the call would cost more than all else here.
        unsafe {
            let plain = if pgrx::varlena::varatt_is_4b_u(packed) { packed } else { pg_sys::pg_detoast_datum(packed) };
            let bytes = pgrx::varlena::varsize_4b(plain);
            let dim = usize::from((*plain.cast::<Header>()).dim);
            assert!(bytes == HEADER + dim * size_of::<f32>(), "a vector's size does not match its dimension");
            // SAFETY: the size was checked on the previous line, and the data are aligned to four bytes.
            let values = std::slice::from_raw_parts(plain.cast::<u8>().add(HEADER).cast::<f32>(), dim);
            Some(Self { values, copy: (plain != packed).then_some(plain) })
        }
    }
}

// SAFETY: the SQL signature says `vector`, which is what `from_datum` reads; arguments outlive the call.
unsafe impl<'fcx> ArgAbi<'fcx> for VectorRef<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as the trait asks of the caller.
        unsafe { arg.unbox_arg_using_from_datum() }.expect("a strict argument is not null")
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: as the trait asks of the caller.
        unsafe { arg.unbox_arg_using_from_datum() }.into()
    }
}

impl IntoDatum for Vector {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let bytes = HEADER + self.0.len() * size_of::<f32>();
        // SAFETY: `bytes` are allocated, and every one of them is written: header, dimension, zero, values.
        unsafe {
            let header = pg_sys::palloc(bytes).cast::<Header>();
            pgrx::varlena::set_varsize_4b(header.cast(), bytes as i32);
            (*header).dim = self.0.len() as u16;
            (*header).unused = 0;
            let values = header.cast::<u8>().add(HEADER).cast::<f32>();
            std::ptr::copy_nonoverlapping(self.0.as_ptr(), values, self.0.len());
            Some(pg_sys::Datum::from(header))
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::InvalidOid
    }
}

// SAFETY: `As` owns its values and borrows nothing from the datum.
unsafe impl UnboxDatum for Vector {
    type As<'src> = Self;

    unsafe fn unbox<'src>(datum: pgrx::datum::Datum<'src>) -> Self::As<'src>
    where
        Self: 'src,
    {
        // SAFETY: the caller vouches that the datum is a non-null `vector`.
        unsafe { Self::from_datum(datum.sans_lifetime(), false) }.expect("a vector datum is not null")
    }
}

// SAFETY: the SQL signature says `vector`, which is what `from_datum` reads.
unsafe impl<'fcx> ArgAbi<'fcx> for Vector {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as the trait asks of the caller.
        unsafe { arg.unbox_arg_using_from_datum() }.expect("a strict argument is not null")
    }

    unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
        // SAFETY: as the trait asks of the caller.
        unsafe { arg.unbox_arg_using_from_datum() }.into()
    }
}

// SAFETY: the SQL signature says `vector`, which is what `into_datum` writes.
unsafe impl BoxRet for Vector {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: a datum of the function's return type, in the caller's memory context.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}
