//! Where audio comes from: a `bytea`, a large object, or a file of the server.
//!
//! What is read is read in blocks as core asks for it, so a recording of hundreds of megabytes costs a backend one
//! block, and a call that needs its beginning only reads no more.

mod blocks;
mod file;
mod large_object;
mod toast;

use pgrx::pg_sys;
use sha2::{Digest, Sha256};
use speaker_core::audio::{AudioError, MediaSource};

use crate::error::{Report, SqlError};
use crate::interrupts::Interrupts;
use crate::settings;

pub use file::allowed as files_allowed;
pub use toast::Bytea;

/// One recording's audio, wherever it is.
pub enum Audio {
    Bytea(Bytea),
    LargeObject(pg_sys::Oid),
    File(String),
}

impl Audio {
    /// Of the columns of `speaker.recordings`, of which one is set at most.
    pub fn of_recording(bytea: Option<Bytea>, large_object: Option<pg_sys::Oid>, path: Option<String>) -> Option<Self> {
        let large_object = large_object.map(Self::LargeObject);
        bytea.map(Self::Bytea).or(large_object).or(path.map(Self::File))
    }

    /// Opens it. A failure of PostgreSQL's, now or while it is read, is kept in `interrupts`.
    pub fn open<'a>(&self, interrupts: &'a Interrupts) -> Result<Box<dyn MediaSource + 'a>, Report> {
        match self {
            Self::Bytea(bytea) => Ok(Box::new(bytea.open(interrupts))),
            Self::LargeObject(oid) => Ok(Box::new(large_object::open(*oid, interrupts)?)),
            Self::File(path) => Ok(Box::new(file::open(path)?)),
        }
    }

    /// The sha256 of the bytes.
    pub fn sha256(&self) -> Result<Vec<u8>, Report> {
        let interrupts = Interrupts::default();
        let hash = self.open(&interrupts).and_then(|mut source| {
            let max = settings::audio_limits().max_bytes;
            let got = source.byte_len().unwrap_or(0);
            if got > max {
                return Err(AudioError::TooLarge { got, max }.into());
            }
            let mut hash = Sha256::new();
            let mut block = vec![0; blocks::BLOCK];
            loop {
                if interrupts.check().is_break() {
                    return Err(AudioError::Interrupted.into());
                }
                match source.read(&mut block).map_err(AudioError::from)? {
                    0 => return Ok(hash.finalize().to_vec()),
                    n => hash.update(&block[..n]),
                }
            }
        });
        interrupts.rethrow();
        hash
    }
}

/// A source that is not there: the recording has no audio, now.
fn missing(what: String) -> Report {
    SqlError::AudioMissing { what }.into()
}
