//! Where bytes come from, and the view of them that the demultiplexers get.

use std::io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

pub use symphonia::core::io::MediaSource;

use super::{AudioError, Limits};
use crate::Check;

/// A source of bytes that are already in memory.
pub fn from_bytes(bytes: Vec<u8>) -> Box<dyn MediaSource> {
    Box::new(Cursor::new(bytes))
}

/// A part of a source, with some of its bytes replaced.
///
/// Lengths in headers are corrected here, before a demultiplexer trusts them, and tags in front of the audio cut
/// off, so that nobody parses them. A clone is another view of the same source.
#[derive(Clone)]
pub(super) struct Window<'s> {
    inner: Arc<Mutex<Inner<'s>>>,
    start: u64,
    len: u64,
    pos: u64,
    patches: Vec<(u64, Vec<u8>)>,
}

struct Inner<'s> {
    source: Box<dyn MediaSource + 's>,
    /// Where it is, to seek only when it must move.
    pos: Option<u64>,
}

impl<'s> Window<'s> {
    /// The whole source, if it is within the limit. A source that cannot seek or does not know its length is read
    /// into memory first: lengths in headers are checked against what is there, and some containers keep their index
    /// at the end.
    pub(super) fn new(source: Box<dyn MediaSource + 's>, limits: &Limits, check: Check) -> Result<Self, AudioError> {
        let (inner, len) = match source.byte_len() {
            Some(len) if source.is_seekable() => (source, len),
            _ => {
                let bytes = read_all(source, limits.max_bytes, check)?;
                let len = bytes.len() as u64;
                (from_bytes(bytes) as Box<dyn MediaSource + 's>, len)
            }
        };
        if len > limits.max_bytes {
            return Err(AudioError::TooLarge { got: len, max: limits.max_bytes });
        }
        if len == 0 {
            return Err(AudioError::Empty);
        }
        let inner = Arc::new(Mutex::new(Inner { source: inner, pos: None }));
        Ok(Self { inner, start: 0, len, pos: 0, patches: Vec::new() })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Moves the start of the view to `offset` of the present view.
    pub(super) fn cut_front(&mut self, offset: u64) {
        let offset = offset.min(self.len);
        self.start += offset;
        self.len -= offset;
        self.pos = 0;
    }

    /// Shows `bytes` at `offset` instead of what the source has there.
    pub(super) fn patch(&mut self, offset: u64, bytes: impl Into<Vec<u8>>) {
        self.patches.push((offset, bytes.into()));
    }

    /// Reads at `offset` until `buf` is full or the source ends; returns the number of bytes read. Leaves the position
    /// of the view at its start.
    pub(super) fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.pos = offset;
        let mut filled = 0;
        while filled < buf.len() {
            match self.read(&mut buf[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.pos = 0;
        Ok(filled)
    }

    /// The `N` bytes at `offset`, or none if the source ends before them.
    pub(super) fn bytes_at<const N: usize>(&mut self, offset: u64) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        Ok((self.read_at(offset, &mut bytes)? == N).then_some(bytes))
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.pos)).unwrap_or(usize::MAX);
        let wanted = buf.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let inner_pos = self.start + self.pos;
        // Who unwound while reading has left no position behind.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        // It is not known again until the read has succeeded.
        if inner.pos.take() != Some(inner_pos) {
            inner.source.seek(SeekFrom::Start(inner_pos))?;
        }
        let n = inner.source.read(&mut buf[..wanted])?.min(wanted);
        inner.pos = Some(inner_pos + n as u64);
        drop(inner);
        for (at, bytes) in &self.patches {
            for (at, byte) in (*at..).zip(bytes) {
                if let Some(index) = at.checked_sub(self.pos).filter(|&index| index < n as u64) {
                    buf[index as usize] = *byte;
                }
            }
        }
        self.pos += n as u64;
        Ok(n)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let pos = match to {
            SeekFrom::Start(pos) => Some(pos),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.pos.checked_add_signed(by),
        };
        // Past the end is legal and reads nothing, as for files.
        self.pos = pos.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "seek before the start of the source"))?;
        Ok(self.pos)
    }
}

impl MediaSource for Window<'_> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.len)
    }
}

fn read_all<'s>(mut source: Box<dyn MediaSource + 's>, max: u64, check: Check) -> Result<Vec<u8>, AudioError> {
    let mut bytes = Vec::new();
    let mut block = vec![0; 64 * 1024];
    loop {
        if let ControlFlow::Break(()) = check() {
            return Err(AudioError::Interrupted);
        }
        match source.read(&mut block) {
            Ok(0) => return Ok(bytes),
            Ok(n) => bytes.extend_from_slice(&block[..n.min(block.len())]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if bytes.len() as u64 > max {
            return Err(AudioError::TooLarge { got: bytes.len() as u64, max });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::never;

    fn window(bytes: &[u8]) -> Window<'static> {
        Window::new(from_bytes(bytes.to_vec()), &Limits::default(), &never).unwrap()
    }

    #[test]
    fn patches_show_through_any_read() {
        let mut window = window(b"..0123456789");
        window.cut_front(2);
        window.patch(3, *b"abcd");
        for size in 1..=10 {
            let mut seen = Vec::new();
            let mut buf = vec![0; size];
            window.seek(SeekFrom::Start(0)).unwrap();
            loop {
                let n = window.read(&mut buf).unwrap();
                if n == 0 {
                    break;
                }
                seen.extend_from_slice(&buf[..n]);
            }
            assert_eq!(seen, b"012abcd789", "in reads of {size}");
        }
    }

    #[test]
    fn seeks_and_ends_like_a_file() {
        let mut window = window(b"0123456789");
        assert_eq!(window.seek(SeekFrom::End(-3)).unwrap(), 7);
        assert_eq!(window.seek(SeekFrom::Current(5)).unwrap(), 12);
        assert_eq!(window.read(&mut [0; 4]).unwrap(), 0);
        assert!(window.seek(SeekFrom::Current(-13)).is_err());
        assert_eq!(window.bytes_at::<4>(7).unwrap(), None);
        assert_eq!(window.bytes_at::<3>(7).unwrap(), Some(*b"789"));
    }
}
