//! A file of the server, for those who may read its files.
//!
//! The server's user can read what its own users may not: other databases, keys, whatever the operating system lets
//! it. So a path is opened only for members of `pg_read_server_files`, as in `COPY`; it has to be absolute; and where
//! `speaker.audio_dir` is set, the file has to be inside, links followed.
//!
//! Folders and links may be exchanged at any moment. So it is not the path that is checked but the file that was found
//! by it: it is pinned first, without opening it for anything, then asked what and where it is, and what is read in the
//! end is that very file.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{missing, rights};
use crate::error::{Report, SqlError};
use crate::settings;

pub fn open(path: &str, named_by: Option<&str>) -> Result<File, Report> {
    rights::check_server_files(named_by)?;
    let path = Path::new(path);
    if !path.is_absolute() {
        return Err(SqlError::RelativePath.into());
    }
    // O_PATH finds the file and does nothing to it: a pipe would block an open, a device might act on it.
    let pinned =
        OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path).map_err(|error| {
            match error.kind() {
                ErrorKind::NotFound => missing("the audio file".to_owned()),
                _ => unreadable(error),
            }
        })?;
    let found = pinned.metadata().map_err(unreadable)?;
    if let Some(dir) = settings::audio_dir() {
        let place = place(&pinned)?;
        // By components: /audio-of-others is not inside /audio.
        if !fs::canonicalize(dir).is_ok_and(|dir| place.starts_with(dir)) {
            return Err(SqlError::OutsideAudioDir.into());
        }
        // Of a file that was removed the kernel tells where it was, and marks that in the text of the path.
        let still =
            fs::symlink_metadata(&place).is_ok_and(|there| (there.dev(), there.ino()) == (found.dev(), found.ino()));
        if !still {
            return Err(SqlError::Unreadable { detail: "it was moved or removed meanwhile".to_owned() }.into());
        }
    }
    if !found.is_file() {
        return Err(SqlError::Unreadable { detail: "it is not a regular file".to_owned() }.into());
    }
    // The same file, whatever the path leads to by now.
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC)
        .open(by_descriptor(&pinned))
        .map_err(unreadable)
}

/// Where the kernel says that an open file is, links resolved.
fn place(file: &File) -> Result<PathBuf, Report> {
    fs::read_link(by_descriptor(file)).map_err(unreadable)
}

fn by_descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

fn unreadable(error: std::io::Error) -> Report {
    SqlError::Unreadable { detail: error.to_string() }.into()
}
