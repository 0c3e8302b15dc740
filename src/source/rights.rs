//! Whose rights audio outside of a recording's row is read with: the current user's, and those of the role that named it.
//!
//! Whoever embeds a recording may be allowed to read more than whoever made it. Without the second check a role could
//! name what it may not read, and wait for the vectors.

use std::ffi::CString;

use pgrx::pg_sys;

use crate::error::{Report, SqlError};

/// Whether the current user, and who named the file, may read files of the server.
pub fn check_server_files(named_by: Option<&str>) -> Result<(), Report> {
    // SAFETY: the right of a role is read from this backend's caches.
    let may_read =
        |role| unsafe { pg_sys::has_privs_of_role(role, pg_sys::Oid::from(pg_sys::ROLE_PG_READ_SERVER_FILES)) };
    if !may_read(current_user()) {
        return Err(SqlError::FilesForbidden.into());
    }
    match named_by {
        Some(name) if !role(name).is_some_and(may_read) => {
            Err(SqlError::NamerOfFileForbidden { role: name.to_owned() }.into())
        }
        _ => Ok(()),
    }
}

/// Whether the current user, and who named the large object, may read it. It exists.
pub fn check_large_object(oid: pg_sys::Oid, named_by: Option<&str>) -> Result<(), Report> {
    // SAFETY: a setting of PostgreSQL's that its own check of large objects obeys.
    if unsafe { lo_compat_privileges } {
        return Ok(());
    }
    // With the catalogue as it is now, not as the query's snapshot shows it: a right that was taken away is gone.
    // SAFETY: PostgreSQL reads the privileges of the object.
    let may_read = |role| unsafe {
        pg_sys::pg_largeobject_aclcheck_snapshot(oid, role, pg_sys::ACL_SELECT.into(), std::ptr::null_mut())
            == pg_sys::AclResult::ACLCHECK_OK
    };
    let oid = oid.to_u32();
    if !may_read(current_user()) {
        return Err(SqlError::LargeObjectForbidden { oid }.into());
    }
    match named_by {
        Some(name) if !role(name).is_some_and(may_read) => {
            Err(SqlError::NamerOfLargeObjectForbidden { oid, role: name.to_owned() }.into())
        }
        _ => Ok(()),
    }
}

fn current_user() -> pg_sys::Oid {
    // SAFETY: reads this backend's own state.
    unsafe { pg_sys::GetUserId() }
}

/// The role of this name, if there is one still.
fn role(name: &str) -> Option<pg_sys::Oid> {
    let name = CString::new(name).ok()?;
    // SAFETY: a C string; a role that is missing is answered, not raised.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != pg_sys::InvalidOid).then_some(role)
}

extern "C" {
    /// libpq/be-fsstubs.h; pgrx does not bind it.
    static lo_compat_privileges: bool;
}
