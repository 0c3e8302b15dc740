//! Answers of a composite type of ours, made from the type that the catalogue gives the running function.
//!
//! pgrx makes composites by the name of their type, which depends on the search path, and knows no array of pgvector's
//! type. Unsafe code lives here for both: PostgreSQL takes columns as untyped datums.

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::{impl_sql_translatable, pg_sys, IntoDatum, PgTupleDesc};

use crate::datum::Vector;

/// A value of the composite type that the running function returns. Its SQL is written by hand: each function says which
/// type that is.
pub struct Composite(pg_sys::Datum);

impl_sql_translatable!(Composite, "record");

impl Composite {
    /// Columns are made by `columns`, in the order of the type's.
    ///
    /// # Safety
    ///
    /// `fcinfo` is that of the running call, and the columns' types are those of the type that its function returns.
    pub unsafe fn of_result(fcinfo: pg_sys::FunctionCallInfo, columns: impl FnOnce(&mut Columns)) -> Self {
        let mut descriptor = std::ptr::null_mut();
        // SAFETY: fcinfo is the running call's, and there is room for a descriptor, which is a copy of ours.
        let (kind, row) = unsafe {
            let kind = pg_sys::get_call_result_type(fcinfo, std::ptr::null_mut(), &mut descriptor);
            (kind, descriptor)
        };
        assert!(kind == pg_sys::TypeFuncClass::TYPEFUNC_COMPOSITE, "the function returns a composite type");
        // SAFETY: the descriptor that was just made.
        let descriptor = unsafe { PgTupleDesc::from_pg_is_copy(row) };
        let mut made = Columns { descriptor, values: Vec::new(), nulls: Vec::new() };
        columns(&mut made);
        let Columns { descriptor, mut values, mut nulls } = made;
        assert!(values.len() == descriptor.len(), "each column has a value, or NULL");
        // SAFETY: as many values as the descriptor has columns, of their types, as the caller vouches.
        let row = unsafe { pg_sys::heap_form_tuple(row, values.as_mut_ptr(), nulls.as_mut_ptr()) };
        // SAFETY: a tuple in the caller's memory context; its header is the value.
        Self(unsafe { pg_sys::HeapTupleHeaderGetDatum((*row).t_data) })
    }
}

/// The columns of a composite value, so far.
pub struct Columns {
    descriptor: PgTupleDesc<'static>,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Columns {
    /// The next column.
    pub fn push(&mut self, value: impl IntoDatum) {
        self.push_datum(value.into_datum());
    }

    /// The next column, of type `vector[]`.
    pub fn push_vectors(&mut self, vectors: Vec<Option<Vector>>) {
        let column = self.descriptor.get(self.values.len()).expect("the type has a column for it");
        let nulls: Vec<bool> = vectors.iter().map(Option::is_none).collect();
        let values: Vec<pg_sys::Datum> =
            vectors.into_iter().map(|vector| vector.into_datum().unwrap_or(pg_sys::Datum::null())).collect();
        let (mut len, mut by_value, mut align) = (0, false, 0);
        // SAFETY: the element type is that of the column, whose facts PostgreSQL knows; there are as many values as
        // nulls, and arrays in SQL start at 1.
        let array = unsafe {
            let element = pg_sys::get_element_type(column.atttypid);
            pg_sys::get_typlenbyvalalign(element, &mut len, &mut by_value, &mut align);
            let (mut dims, mut lower) = ([values.len() as i32], [1]);
            pg_sys::construct_md_array(
                values.as_ptr().cast_mut(),
                nulls.as_ptr().cast_mut(),
                1,
                dims.as_mut_ptr(),
                lower.as_mut_ptr(),
                element,
                i32::from(len),
                by_value,
                align,
            )
        };
        self.push_datum(Some(array.into()));
    }

    fn push_datum(&mut self, value: Option<pg_sys::Datum>) {
        self.nulls.push(value.is_none());
        self.values.push(value.unwrap_or(pg_sys::Datum::null()));
    }
}

// SAFETY: the SQL signature says the composite type that the value was made of.
unsafe impl BoxRet for Composite {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        // SAFETY: a datum of the function's return type, in the caller's memory context.
        unsafe { fcinfo.return_raw_datum(self.0) }
    }
}
