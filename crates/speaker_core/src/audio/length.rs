//! What containers declare about their own length, and what is there.
//!
//! Symphonia trusts the sizes in headers: it refuses a box or element larger than its parent or the file. So they are
//! walked here first, and the sizes that it sees are set to what is there. What the header said is kept for the verdict
//! at the end: truncated or not. Files of chunks have a room of their own, [`super::chunks`].
//!
//! Sources: ISO/IEC 14496-12 (boxes), RFC 8794 (EBML), RFC 9559 (Matroska).

use std::io;
use std::ops::Range;

use super::chunks;
use super::raw::Raw;
use super::sniff::Container;
use super::source::Window;
use super::{AudioError, TOLERANCE_S};

/// A length that a container declares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Declared {
    /// Nothing that could be held against the data.
    Nothing,
    /// The length in seconds.
    Seconds(f64),
    /// The size of the encoded samples, of which `present` bytes are there.
    Bytes { declared: u64, present: u64 },
}

impl Declared {
    /// The verdict on audio that ended after `got_s` seconds.
    pub(super) fn check(self, got_s: f64) -> Result<(), AudioError> {
        let declared_s = match self {
            Self::Nothing => return Ok(()),
            Self::Seconds(declared_s) => declared_s,
            Self::Bytes { declared, present } => got_s * declared as f64 / present.max(1) as f64,
        };
        if declared_s - got_s <= TOLERANCE_S || is_placeholder(declared_s, got_s) {
            return Ok(());
        }
        Err(AudioError::Truncated { declared_s, got_s })
    }
}

/// Who writes to a pipe does not know the length and cannot come back to correct it, so the header promises hours.
/// Each encoder has its own number; hours over seconds is what they share.
fn is_placeholder(declared_s: f64, got_s: f64) -> bool {
    declared_s > 3600.0 && got_s < declared_s / 60.0
}

/// What the chunks, boxes or elements of a file tell before its demultiplexer sees them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Layout {
    /// The sample data of a file of chunks: bytes declared (none for a placeholder) and bytes present.
    pub(super) data: Option<(Option<u64>, u64)>,
    /// The same, where they are read as they are.
    pub(super) raw: Option<Raw>,
    /// The codec of a file of chunks that nobody here reads.
    pub(super) unread: Option<String>,
    /// What keeps a file of chunks from being read.
    pub(super) damage: Option<&'static str>,
    /// Where an MP4 or Matroska file should end, if that is beyond where it does.
    pub(super) cut_at: Option<u64>,
    /// The samples that the fragments of an MP4 file state. Symphonia counts up to the number in each, which is 32 bits
    /// wide and need not be backed by anything: seconds of work for every 20 bytes.
    pub(super) run_samples: u64,
}

/// Walks the file, and corrects the sizes that promise more than there is.
pub(super) fn survey(window: &mut Window, container: Container) -> io::Result<Layout> {
    match container {
        Container::Wav => chunks::wav(window),
        Container::W64 => chunks::w64(window),
        Container::Aiff => chunks::aiff(window),
        Container::Au => chunks::au(window),
        Container::Caf => chunks::caf(window),
        Container::Mp4 => mp4_boxes(window),
        Container::Matroska => matroska_segment(window),
        _ => Ok(Layout::default()),
    }
}

/// A real file has a dozen boxes for every fragment of a second or two.
const MOST_BOXES: usize = 1_000_000;

fn mp4_boxes(window: &mut Window) -> io::Result<Layout> {
    let mut layout = Layout::default();
    // Where the boxes end that the walk is in: none at the top, then a fragment, then its tracks.
    let mut ends: Vec<u64> = Vec::new();
    let mut at = 0;
    for _ in 0..MOST_BOXES {
        while let Some(end) = ends.pop_if(|end| at + 8 > *end) {
            at = end;
        }
        let Some(header) = window.bytes_at::<8>(at)? else { return Ok(layout) };
        let [s0, s1, s2, s3, kind @ ..] = header;
        let (body, size) = match u32::from_be_bytes([s0, s1, s2, s3]) {
            1 => (16, window.bytes_at(at + 8)?.map_or(0, u64::from_be_bytes)),
            size => (8, u64::from(size)),
        };
        let end = at.saturating_add(size);
        let fits = size >= body && end <= *ends.last().unwrap_or(&window.len());
        if !fits && !ends.is_empty() {
            // What a fragment holds from here on nobody reads.
            at = ends[0];
            ends.clear();
            continue;
        }
        if !fits {
            // A size of zero is "up to the end of the file", one to seven is no box.
            if size >= body {
                // Refused as too large otherwise, with all the samples that are there.
                window.patch(at, [0; 4]);
                layout.cut_at = Some(end);
            }
            return Ok(layout);
        }
        match (&kind, ends.len()) {
            (b"moof", 0) | (b"traf", 1) => {
                ends.push(end);
                at += body;
                continue;
            }
            // Version and flags, then the number of samples.
            (b"trun", 2) => {
                let samples = window.bytes_at(at + body + 4)?.map_or(0, u32::from_be_bytes);
                layout.run_samples = layout.run_samples.saturating_add(samples.into());
            }
            _ => {}
        }
        at = end;
    }
    Ok(Layout { run_samples: u64::MAX, ..layout })
}

/// A file is a header and a segment, which holds everything.
fn matroska_segment(window: &mut Window) -> io::Result<Layout> {
    let Some((_, header)) = ebml_size(window, 4)? else { return Ok(Layout::default()) };
    let segment = header.unwrap_or(0);
    if window.bytes_at(segment)? != Some(*b"\x18\x53\x80\x67") {
        return Ok(Layout::default());
    }
    let Some((width, Some(end))) = ebml_size(window, segment + 4)? else { return Ok(Layout::default()) };
    if end <= window.len() {
        return Ok(Layout::default());
    }
    let mut unknown = vec![0xff; width];
    unknown[0] >>= width - 1;
    window.patch(segment + 4, unknown);
    hide_seek_head(window, segment + 4 + width as u64)?;
    Ok(Layout { cut_at: Some(end), ..Layout::default() })
}

/// The audio tracks of a Matroska file: their numbers, and the names of their codecs.
pub(super) fn matroska_tracks(window: &mut Window) -> io::Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    let mut left = MOST_ELEMENTS;
    let Some((_, header)) = ebml_size(window, 4)? else { return Ok(found) };
    let Some((width, end)) = ebml_size(window, header.unwrap_or(0) + 4)? else { return Ok(found) };
    let segment = header.unwrap_or(0) + 4 + width as u64..end.unwrap_or(u64::MAX).min(window.len());
    let Some(tracks) = elements(window, segment, &mut left)?.find(|(id, _)| *id == 0x1654_ae6b) else {
        return Ok(found);
    };
    for (_, entry) in elements(window, tracks.1, &mut left)?.filter(|(id, _)| *id == 0xae) {
        let (mut number, mut kind, mut codec) = (0, 0, String::new());
        for (id, body) in elements(window, entry, &mut left)? {
            let mut bytes = [0; 32];
            let size = (body.end - body.start).min(32) as usize;
            let there = window.read_at(body.start, &mut bytes[..size])?;
            let value = bytes[..there.min(4)].iter().fold(0, |value, &byte| value << 8 | u32::from(byte));
            match id {
                0xd7 => number = value,
                0x83 => kind = value,
                0x86 => codec = String::from_utf8_lossy(&bytes[..there]).trim_end_matches('\0').to_owned(),
                _ => {}
            }
        }
        if kind == 2 {
            found.push((number, codec.strip_prefix("A_").unwrap_or(&codec).to_ascii_lowercase()));
        }
    }
    Ok(found)
}

/// More elements than any file has in front of its sound.
const MOST_ELEMENTS: usize = 10_000;

/// The elements of a range up to one of unknown size: their ids and bodies.
fn elements(
    window: &mut Window,
    within: Range<u64>,
    left: &mut usize,
) -> io::Result<impl Iterator<Item = (u32, Range<u64>)>> {
    let mut found = Vec::new();
    let mut at = within.start;
    while at < within.end && *left > 0 {
        *left -= 1;
        let Some(bytes) = window.bytes_at::<4>(at)? else { break };
        let width = bytes[0].leading_zeros() as usize + 1;
        if width > 4 {
            break;
        }
        let id = u32::from_be_bytes(bytes) >> (32 - 8 * width);
        let Some((size_width, Some(end))) = ebml_size(window, at + width as u64)? else { break };
        let body = at + (width + size_width) as u64;
        found.push((id, body..end.clamp(body, within.end.max(body))));
        at = end.max(body);
    }
    Ok(found.into_iter())
}

/// Makes the table of contents at the start of a segment a void element. It points to an index at the end of the file,
/// which is cut off, and the reader gives up where it cannot follow.
fn hide_seek_head(window: &mut Window, at: u64) -> io::Result<()> {
    if window.bytes_at(at)? != Some(*b"\x11\x4d\x9b\x74") {
        return Ok(());
    }
    if let Some((width @ ..=5, Some(end))) = ebml_size(window, at + 4)? {
        // The name of a void element is three bytes shorter; its size fills them.
        let width = width + 3;
        let size = (end - (at + 1 + width as u64)) | (1 << (7 * width));
        let mut void = size.to_be_bytes()[8 - width..].to_vec();
        void.insert(0, 0xec);
        window.patch(at, void);
    }
    Ok(())
}

/// Reads the size of an element at `at`: the width of the size itself, and where the element ends, if that is known.
fn ebml_size(window: &mut Window, at: u64) -> io::Result<Option<(usize, Option<u64>)>> {
    let mut bytes = [0; 8];
    window.read_at(at, &mut bytes)?;
    let width = bytes[0].leading_zeros() as usize + 1;
    if width > 8 {
        return Ok(None);
    }
    let bits = 7 * width as u32;
    let size = u64::from_be_bytes(bytes) >> (64 - 8 * width) & ((1 << bits) - 1);
    let is_known = size != (1 << bits) - 1;
    Ok(Some((width, is_known.then(|| at.saturating_add(width as u64 + size)))))
}

#[cfg(test)]
mod tests {
    use super::super::{from_bytes, Limits};
    use super::*;
    use crate::never;

    fn window(bytes: &[u8]) -> Window<'static> {
        Window::new(from_bytes(bytes.to_vec()), &Limits::default(), &never).unwrap()
    }

    #[test]
    fn hours_over_seconds_are_placeholders() {
        let seconds = |declared, got| Declared::Seconds(declared).check(got);
        assert_eq!(seconds(10.0, 9.95), Ok(()));
        assert_eq!(seconds(10.0, 11.0), Ok(()));
        assert_eq!(seconds(10.0, 9.0), Err(AudioError::Truncated { declared_s: 10.0, got_s: 9.0 }));
        assert_eq!(seconds(3599.0, 1.0), Err(AudioError::Truncated { declared_s: 3599.0, got_s: 1.0 }));
        assert_eq!(seconds(7200.0, 119.0), Ok(()));
        assert_eq!(seconds(7200.0, 121.0), Err(AudioError::Truncated { declared_s: 7200.0, got_s: 121.0 }));
        let bytes = Declared::Bytes { declared: 300, present: 100 };
        assert_eq!(bytes.check(2.0), Err(AudioError::Truncated { declared_s: 6.0, got_s: 2.0 }));
    }

    #[test]
    fn segments_beyond_the_end_are_seen() {
        // A header of 3 bytes; a segment of 5, its size in 1, 2 and 8 bytes.
        for size in [&b"\x85"[..], b"\x40\x05", b"\x01\0\0\0\0\0\0\x05"] {
            let file = [b"\x1a\x45\xdf\xa3\x83abc\x18\x53\x80\x67", size, b"12345"].concat();
            let len = file.len();
            assert_eq!(matroska_segment(&mut window(&file)).unwrap().cut_at, None);
            let mut cut = window(&file[..len - 1]);
            assert_eq!(matroska_segment(&mut cut).unwrap().cut_at, Some(len as u64));
            assert_eq!(ebml_size(&mut cut, 12).unwrap(), Some((size.len(), None)), "unknown");
        }
    }

    #[test]
    fn boxes_beyond_the_end_are_seen() {
        let whole = b"\0\0\0\x0cftypmp42\0\0\0\x0amdat12";
        assert_eq!(mp4_boxes(&mut window(whole)).unwrap().cut_at, None);
        assert_eq!(mp4_boxes(&mut window(&whole[..21])).unwrap().cut_at, Some(22));
    }

    #[test]
    fn samples_of_fragments_are_counted() {
        let boxed = |kind: &[u8], body: &[u8]| [&(8 + body.len() as u32).to_be_bytes()[..], kind, body].concat();
        let run = |samples: u32| boxed(b"trun", &[&[0; 4][..], &samples.to_be_bytes()].concat());
        let track = boxed(b"traf", &[boxed(b"tfhd", &[0; 8]), run(3), run(u32::MAX), vec![0; 5]].concat());
        let whole = boxed(b"moof", &[track.clone(), track.clone(), vec![0; 3]].concat());
        let broken = boxed(b"moof", &[track.clone(), vec![0; 8], track].concat());
        let file = [whole, run(1), boxed(b"moof", &[]), broken, boxed(b"moof", &boxed(b"traf", &run(7)))].concat();
        let layout = mp4_boxes(&mut window(&file)).unwrap();
        assert_eq!(layout.run_samples, 3 * (3 + u64::from(u32::MAX)) + 7);
    }
}
