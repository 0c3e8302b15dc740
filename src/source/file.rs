//! A file of the server, for those who may read its files.
//!
//! The server's user can read what its own users may not: other databases, keys, whatever the operating system lets
//! it. So a path is opened only for members of `pg_read_server_files`, as in `COPY`; it has to be absolute; and where
//! `speaker.audio_dir` is set, the file has to be inside, links followed.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use pgrx::pg_sys;

use super::missing;
use crate::error::{Report, SqlError};
use crate::settings;

pub fn open(path: &str) -> Result<File, Report> {
    allowed()?;
    let path = Path::new(path);
    if !path.is_absolute() {
        return Err(SqlError::RelativePath.into());
    }
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => missing("the audio file".to_owned()),
        _ => SqlError::Unreadable { detail: error.to_string() }.into(),
    };
    let real = fs::canonicalize(path).map_err(unreadable)?;
    if settings::audio_dir().is_some_and(|dir| !fs::canonicalize(dir).is_ok_and(|dir| real.starts_with(dir))) {
        return Err(SqlError::OutsideAudioDir.into());
    }
    // A pipe would block the open, and a device never end.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(real)
        .map_err(unreadable)?;
    match file.metadata().map_err(unreadable)?.is_file() {
        true => Ok(file),
        false => Err(SqlError::Unreadable { detail: "it is not a regular file".to_owned() }.into()),
    }
}

/// Whether the current user may read files of the server.
pub fn allowed() -> Result<(), Report> {
    // SAFETY: two reads of this backend's own state and caches.
    let member =
        unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::Oid::from(pg_sys::ROLE_PG_READ_SERVER_FILES)) };
    if member {
        Ok(())
    } else {
        Err(SqlError::FilesForbidden.into())
    }
}
