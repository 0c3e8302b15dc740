//! A source that PostgreSQL hands out in pieces.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use pgrx::pg_sys;
use speaker_core::audio::MediaSource;

use crate::interrupts::Interrupts;

/// Bytes of one read: large enough that finding them costs little beside copying them.
pub const BLOCK: usize = 256 * 1024;

/// Reads `fetch(offset, length)`, a new `bytea` in the current memory context, block by block.
pub struct Blocks<'a> {
    fetch: Box<dyn FnMut(u64, usize) -> *mut pg_sys::varlena + 'a>,
    interrupts: &'a Interrupts,
    len: u64,
    pos: u64,
    block: Vec<u8>,
    block_at: u64,
}

impl<'a> Blocks<'a> {
    pub fn new(
        len: u64,
        interrupts: &'a Interrupts,
        fetch: impl FnMut(u64, usize) -> *mut pg_sys::varlena + 'a,
    ) -> Self {
        Self { fetch: Box::new(fetch), interrupts, len, pos: 0, block: Vec::new(), block_at: 0 }
    }

    /// Makes `block` the one that holds `pos`.
    fn load(&mut self) -> io::Result<()> {
        let at = self.pos - self.pos % BLOCK as u64;
        let wanted = (self.len - at).min(BLOCK as u64) as usize;
        let Self { fetch, block, .. } = self;
        block.clear();
        let fetched = self.interrupts.keep(|| {
            let bytes = fetch(at, wanted);
            // SAFETY: `fetch` gives a plain varlena of its own, which nothing refers to once it is copied.
            unsafe {
                block.extend_from_slice(pgrx::varlena::varlena_to_byte_slice(bytes));
                pg_sys::pfree(bytes.cast());
            }
        });
        self.block_at = at;
        match fetched {
            Some(()) if self.block.len() == wanted => Ok(()),
            Some(()) => Err(ErrorKind::UnexpectedEof.into()),
            None => Err(io::Error::other("PostgreSQL raised an error")),
        }
    }
}

impl Read for Blocks<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.pos >= self.len || buf.is_empty() {
            return Ok(0);
        }
        let loaded = self.block_at..self.block_at + self.block.len() as u64;
        if !loaded.contains(&self.pos) {
            self.load()?;
        }
        let held = &self.block[(self.pos - self.block_at) as usize..];
        let n = held.len().min(buf.len());
        buf[..n].copy_from_slice(&held[..n]);
        self.pos += n as u64;
        Ok(n)
    }
}

impl Seek for Blocks<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let pos = match to {
            SeekFrom::Start(pos) => Some(pos),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.pos.checked_add_signed(by),
        };
        self.pos = pos.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.pos)
    }
}

// SAFETY: MediaSource asks for both, but core decodes on the thread that it was called on, which is the backend's only
// one; no other ever sees this value.
unsafe impl Send for Blocks<'_> {}
// SAFETY: as above.
unsafe impl Sync for Blocks<'_> {}

impl MediaSource for Blocks<'_> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len)
    }
}
