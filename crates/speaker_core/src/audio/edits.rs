//! Edit lists of MP4 files: which part of a track is to be heard.
//!
//! Encoders state their delay there (1024 or 2112 frames of AAC), phones what their owner cut off. Symphonia 0.6.1 reads
//! the lists and keeps them to itself. Source: ISO/IEC 14496-12, 8.6.6.
//!
//! Deliberately not done: lists of several stretches, and silence in front (an "empty edit"): players of sound alone
//! leave it out.

use std::io;
use std::ops::Range;

use super::source::Window;
use super::trim::Edit;

/// More boxes than any file has beside its samples.
const MOST_BOXES: usize = 10_000;

/// The edits of a file, by the number of their track.
pub(super) fn edits(window: &mut Window) -> io::Result<Vec<(u32, Edit)>> {
    let mut boxes = Boxes { window, left: MOST_BOXES };
    let mut edits = Vec::new();
    let whole = 0..boxes.window.len();
    let Some(movie) = boxes.find(whole, b"moov")? else { return Ok(edits) };
    let Some(header) = boxes.find(movie.clone(), b"mvhd")? else { return Ok(edits) };
    let Some(movie_scale) = boxes.time_scale(header)? else { return Ok(edits) };
    let mut rest = movie;
    while let Some(track) = boxes.find(rest.clone(), b"trak")? {
        rest.start = track.end;
        edits.extend(boxes.track(track, movie_scale)?);
    }
    Ok(edits)
}

struct Boxes<'w, 's> {
    window: &'w mut Window<'s>,
    /// Boxes that may still be looked at.
    left: usize,
}

impl Boxes<'_, '_> {
    /// The body of the first box of a kind.
    fn find(&mut self, within: Range<u64>, wanted: &[u8; 4]) -> io::Result<Option<Range<u64>>> {
        let mut at = within.start;
        while at + 8 <= within.end && self.left > 0 {
            self.left -= 1;
            let Some([s0, s1, s2, s3, kind @ ..]) = self.window.bytes_at::<8>(at)? else { break };
            let (head, size) = match u32::from_be_bytes([s0, s1, s2, s3]) {
                0 => (8, within.end - at),
                1 => (16, self.window.bytes_at(at + 8)?.map_or(0, u64::from_be_bytes)),
                size => (8, size.into()),
            };
            let end = at.saturating_add(size);
            if size < head || end > within.end {
                break;
            }
            if kind == *wanted {
                return Ok(Some(at + head..end));
            }
            at = end;
        }
        Ok(None)
    }

    fn track(&mut self, track: Range<u64>, movie_scale: f64) -> io::Result<Option<(u32, Edit)>> {
        let Some(header) = self.find(track.clone(), b"tkhd")? else { return Ok(None) };
        let Some(media) = self.find(track.clone(), b"mdia")? else { return Ok(None) };
        let Some(media_header) = self.find(media, b"mdhd")? else { return Ok(None) };
        let Some(list) = self.find(track, b"edts")? else { return Ok(None) };
        let Some(list) = self.find(list, b"elst")? else { return Ok(None) };
        // Times of creation and change come first, 4 or 8 bytes each by the version.
        let wide = self.is_wide(&header)?;
        let Some(number) = self.number(header.start + if wide { 20 } else { 12 })? else { return Ok(None) };
        let Some(media_scale) = self.time_scale(media_header)? else { return Ok(None) };
        let edit = self.single_edit(list)?.map(|(ticks, media_time)| Edit {
            skip_s: media_time / media_scale,
            // Some writers round down. A fragmented file states 0: it did not know.
            keep_s: (ticks > 0.0).then(|| (ticks + 1.0) / movie_scale),
        });
        Ok(edit.map(|edit| (number, edit)))
    }

    /// Length and start of the one stretch of a list, if it is at normal speed.
    fn single_edit(&mut self, list: Range<u64>) -> io::Result<Option<(f64, f64)>> {
        let wide = self.is_wide(&list)?;
        let entries = self.number(list.start + 4)?.unwrap_or(0);
        let size = if wide { 20 } else { 12 };
        let mut found = None;
        for entry in 0..u64::from(entries).min(3) {
            let at = list.start + 8 + entry * size;
            if at + size > list.end {
                break;
            }
            let (ticks, start) = if wide {
                let long = |bytes: Option<[u8; 8]>| bytes.map_or(0, i64::from_be_bytes);
                (long(self.window.bytes_at(at)?) as u64 as f64, long(self.window.bytes_at(at + 8)?) as f64)
            } else {
                let short = |number: Option<u32>| number.unwrap_or(0);
                (f64::from(short(self.number(at)?)), f64::from(short(self.number(at + 4)?) as i32))
            };
            if start < 0.0 {
                continue;
            }
            let rate = self.number(at + size - 4)?;
            if found.is_some() || rate != Some(1 << 16) {
                return Ok(None);
            }
            found = Some((ticks, start));
        }
        Ok(found)
    }

    /// The ticks per second that a header of a movie or of its media states.
    fn time_scale(&mut self, header: Range<u64>) -> io::Result<Option<f64>> {
        let at = header.start + if self.is_wide(&header)? { 20 } else { 12 };
        Ok(self.number(at)?.filter(|&scale| scale > 0).map(f64::from))
    }

    fn is_wide(&mut self, body: &Range<u64>) -> io::Result<bool> {
        Ok(self.window.bytes_at(body.start)? == Some([1]))
    }

    fn number(&mut self, at: u64) -> io::Result<Option<u32>> {
        Ok(self.window.bytes_at(at)?.map(u32::from_be_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{from_bytes, Limits};
    use super::*;
    use crate::never;

    fn boxed(kind: &[u8], body: &[u8]) -> Vec<u8> {
        [&(8 + body.len() as u32).to_be_bytes()[..], kind, body].concat()
    }

    /// Version 0, times, then a number.
    fn header(kind: &[u8], number: u32) -> Vec<u8> {
        boxed(kind, &[&[0; 12][..], &number.to_be_bytes(), &[0; 8]].concat())
    }

    /// A movie of 1000 ticks a second, with one track of 16,000.
    fn film(version: u8, entries: &[(i64, i64)]) -> Vec<u8> {
        let mut list = vec![version, 0, 0, 0];
        list.extend((entries.len() as u32).to_be_bytes());
        for (ticks, start) in entries {
            match version {
                0 => list.extend([(*ticks as i32).to_be_bytes(), (*start as i32).to_be_bytes()].concat()),
                _ => list.extend([ticks.to_be_bytes(), start.to_be_bytes()].concat()),
            }
            list.extend([0, 1, 0, 0]);
        }
        let (header_of_track, media) = (header(b"tkhd", 7), boxed(b"mdia", &header(b"mdhd", 16_000)));
        let track = [header_of_track, boxed(b"edts", &boxed(b"elst", &list)), media].concat();
        let movie = [header(b"mvhd", 1000), boxed(b"trak", &[]), boxed(b"trak", &track)].concat();
        [boxed(b"ftyp", b"mp42"), boxed(b"mdat", &[9; 99]), boxed(b"moov", &movie)].concat()
    }

    fn edits_of(bytes: &[u8]) -> Vec<(u32, Edit)> {
        edits(&mut Window::new(from_bytes(bytes.to_vec()), &Limits::default(), &never).unwrap()).unwrap()
    }

    #[test]
    fn the_delay_of_an_encoder() {
        for version in [0, 1] {
            let edit = Edit { skip_s: 0.064, keep_s: Some(1.501) };
            assert_eq!(edits_of(&film(version, &[(1500, 1024)])), [(7, edit)]);
            assert_eq!(edits_of(&film(version, &[(300, -1), (1500, 1024)])), [(7, edit)], "silence in front");
            let open = Edit { skip_s: 0.064, keep_s: None };
            assert_eq!(edits_of(&film(version, &[(0, 1024)])), [(7, open)], "of a fragmented file");
        }
    }

    #[test]
    fn several_stretches_are_left_alone() {
        assert_eq!(edits_of(&film(0, &[(1500, 1024), (1500, 0)])), []);
        assert_eq!(edits_of(&film(0, &[])), []);
        assert_eq!(edits_of(&film(0, &[(300, -1)])), []);
    }

    #[test]
    fn cut_files_end() {
        let film = film(0, &[(1500, 1024)]);
        for end in 1..film.len() {
            assert_eq!(edits_of(&film[..end]), [], "cut after {end} bytes");
        }
    }
}
