//! What an MP4 or QuickTime file says of its sound: tracks, codecs, byte order, and which part is to be heard.
//!
//! Symphonia 0.6.1 reads edit lists and keeps them to itself, takes the samples of QuickTime for little-endian, and gives
//! up a file for any description that it does not know. So the tracks are walked here: raw samples are then read by
//! [`super::raw`], and of the rest Symphonia is shown only the track that is wanted.
//!
//! Edit lists state an encoder's delay (1024 or 2112 frames of AAC) and what the owner cut out. They are kept to, whatever
//! the number of their stretches; one that repeats sound, brings it in another order or at another speed is refused.
//! Silence that a list inserts ("empty edits") is left out: times are those of the sound.
//!
//! Sources: ISO/IEC 14496-12 (8.6.6 edit lists) and 23003-5 (pcmC), QuickTime File Format Specification 2012.

use std::io;
use std::ops::Range;

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known::CODEC_ID_ALAC;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};

use super::codec;
use super::raw::{float, integer, quicktime, width, Raw};
use super::source::Window;
use super::trim::Edit;

/// More boxes than any file has beside its samples.
const MOST_BOXES: usize = 10_000;

/// The sound of a film.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Movie {
    pub(super) sounds: Vec<Sound>,
    /// Where the boxes of other tracks begin.
    others: Vec<u64>,
    is_fragmented: bool,
}

/// An audio track.
#[derive(Debug, PartialEq)]
pub(super) struct Sound {
    pub(super) id: u32,
    /// Where its box begins.
    at: u64,
    /// Where its sample description begins.
    entry_at: u64,
    pub(super) entry: Entry,
    /// What is to be heard of it, or what is wrong with its list.
    pub(super) edits: Result<Vec<Edit>, String>,
}

/// What is in a track.
#[derive(Debug, PartialEq)]
pub(super) enum Entry {
    Raw(Raw),
    /// A codec whose header Symphonia does not find.
    Found(AudioCodecId, Vec<u8>),
    /// What Symphonia reads.
    Known,
    Named(String),
}

/// Walks the tracks of a file.
pub(super) fn movie(window: &mut Window) -> io::Result<Movie> {
    let mut boxes = Boxes { window, left: MOST_BOXES };
    let mut found = Movie::default();
    let whole = 0..boxes.window.len();
    let Some(movie) = boxes.find(whole, b"moov")? else { return Ok(found) };
    let Some(header) = boxes.find(movie.clone(), b"mvhd")? else { return Ok(found) };
    let Some(movie_scale) = boxes.time_scale(header)? else { return Ok(found) };
    found.is_fragmented = boxes.find(movie.clone(), b"mvex")?.is_some();
    let mut rest = movie;
    while let Some((kind, at, body)) = boxes.next(&mut rest)? {
        if kind == *b"trak" {
            match boxes.track(at, body, movie_scale)? {
                Some(sound) => found.sounds.push(sound),
                None => found.others.push(at),
            }
        }
    }
    Ok(found)
}

impl Movie {
    /// Shows Symphonia one of the tracks only. (In a fragmented file it counts them, and wants all.)
    pub(super) fn show(&self, window: &mut Window, number: usize) {
        for (n, sound) in self.sounds.iter().enumerate() {
            match sound.entry {
                _ if n != number && !self.is_fragmented => window.patch(sound.at + 4, *b"free"),
                // A description that Symphonia does not know it passes over.
                Entry::Raw(_) | Entry::Named(_) => window.patch(sound.entry_at + 4, *b"none"),
                _ => {}
            }
        }
        if !self.is_fragmented {
            for at in &self.others {
                window.patch(at + 4, *b"free");
            }
        }
    }

    /// The samples of a track, if they can be read as they are.
    pub(super) fn raw(&self, number: usize) -> Option<(u32, &Raw)> {
        match self.sounds.get(number)? {
            Sound { id, entry: Entry::Raw(raw), .. } if !self.is_fragmented => Some((*id, raw)),
            _ => None,
        }
    }
}

impl Sound {
    /// What is known of its codec's name.
    pub(super) fn name(&self) -> String {
        match &self.entry {
            Entry::Named(name) => name.clone(),
            _ => "of a description that is not read".to_owned(),
        }
    }
}

impl Entry {
    /// What a decoder is made of, where this knows better than Symphonia.
    pub(super) fn settle(&self, parameters: &mut AudioCodecParameters) {
        match self {
            Self::Raw(raw) => {
                let channels = Channels::Discrete(raw.channels);
                parameters.for_codec(raw.codec).with_sample_rate(raw.rate).with_channels(channels);
            }
            Self::Found(codec, header) => {
                parameters.for_codec(*codec).with_extra_data(header.clone().into());
            }
            Self::Known | Self::Named(_) => {}
        }
    }
}

/// A box: its kind, where it begins, and its body.
type Found = ([u8; 4], u64, Range<u64>);

struct Boxes<'w, 's> {
    window: &'w mut Window<'s>,
    /// Boxes that may still be looked at.
    left: usize,
}

impl Boxes<'_, '_> {
    /// The first box of `rest`, which then begins behind it.
    fn next(&mut self, rest: &mut Range<u64>) -> io::Result<Option<Found>> {
        let at = rest.start;
        if at + 8 > rest.end || self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let Some([s0, s1, s2, s3, kind @ ..]) = self.window.bytes_at::<8>(at)? else { return Ok(None) };
        let (head, size) = match u32::from_be_bytes([s0, s1, s2, s3]) {
            0 => (8, rest.end - at),
            1 => (16, self.window.bytes_at(at + 8)?.map_or(0, u64::from_be_bytes)),
            size => (8, size.into()),
        };
        let end = at.saturating_add(size);
        if size < head || end > rest.end {
            return Ok(None);
        }
        rest.start = end;
        Ok(Some((kind, at, at + head..end)))
    }

    /// The body of the first box of a kind.
    fn find(&mut self, mut within: Range<u64>, wanted: &[u8; 4]) -> io::Result<Option<Range<u64>>> {
        while let Some((kind, _, body)) = self.next(&mut within)? {
            if kind == *wanted {
                return Ok(Some(body));
            }
        }
        Ok(None)
    }

    /// The body of the first box at the end of a path.
    fn at_path(&mut self, mut within: Range<u64>, path: &[&[u8; 4]]) -> io::Result<Option<Range<u64>>> {
        for kind in path {
            let Some(body) = self.find(within, kind)? else { return Ok(None) };
            within = body;
        }
        Ok(Some(within))
    }

    /// A track, if it is of sound.
    fn track(&mut self, at: u64, track: Range<u64>, movie_scale: f64) -> io::Result<Option<Sound>> {
        let Some(header) = self.find(track.clone(), b"tkhd")? else { return Ok(None) };
        let Some(media) = self.find(track.clone(), b"mdia")? else { return Ok(None) };
        let Some(handler) = self.find(media.clone(), b"hdlr")? else { return Ok(None) };
        if self.window.bytes_at(handler.start + 8)? != Some(*b"soun") {
            return Ok(None);
        }
        // Times of creation and change come first, 4 or 8 bytes each by the version.
        let wide = self.is_wide(&header)?;
        let Some(id) = self.number(header.start + if wide { 20 } else { 12 })? else { return Ok(None) };
        let Some(tables) = self.at_path(media.clone(), &[b"minf", b"stbl"])? else { return Ok(None) };
        let Some(description) = self.find(tables.clone(), b"stsd")? else { return Ok(None) };
        let (entry_at, entry) = self.entry(description, tables)?;
        let edits = match (self.find(media, b"mdhd")?, self.at_path(track, &[b"edts", b"elst"])?) {
            (Some(media_header), Some(list)) => match self.time_scale(media_header)? {
                Some(media_scale) => self.stretches(list, movie_scale, media_scale)?,
                None => Ok(Vec::new()),
            },
            _ => Ok(Vec::new()),
        };
        Ok(Some(Sound { id, at, entry_at, entry, edits }))
    }

    /// A sample description: where it begins, and what it says.
    fn entry(&mut self, description: Range<u64>, tables: Range<u64>) -> io::Result<(u64, Entry)> {
        let count = self.number(description.start + 4)?;
        let mut rest = description.start + 8..description.end;
        let Some((kind, at, body)) = self.next(&mut rest)? else {
            return Ok((description.start, Entry::Named("without a description".to_owned())));
        };
        let name = codec::four_letters_name(&kind);
        if count != Some(1) {
            return Ok((at, Entry::Named(format!("{name} with several descriptions"))));
        }
        let version = self.short(body.start + 8)?;
        let (mut channels, bits) = (u32::from(self.short(body.start + 16)?), usize::from(self.short(body.start + 18)?));
        let mut rate = self.number(body.start + 24)?.unwrap_or(0) >> 16;
        let children = (body.start + [28, 44, 64].get(usize::from(version)).unwrap_or(&28)).min(body.end)..body.end;
        let wave = self.find(children.clone(), b"wave")?.unwrap_or(0..0);
        let mut raw_width = None;
        let codec = match &kind {
            b"alac" => {
                let own = self.find(children, b"alac")?;
                let header = match own {
                    Some(header) => Some(header),
                    None => self.find(wave, b"alac")?,
                };
                // Behind version and flags.
                let mut bytes = vec![0; 64];
                let there = header.map_or(0..0, |header| header.start + 4..header.end.max(header.start + 4));
                let there_bytes = self.window.read_at(there.start, &mut bytes)?;
                bytes.truncate(there_bytes.min(usize::try_from(there.end - there.start).unwrap_or(0)));
                return Ok((at, Entry::Found(CODEC_ID_ALAC, bytes)));
            }
            b"mp4a" | b"fLaC" | b"Opus" | b".mp3" => return Ok((at, Entry::Known)),
            b"lpcm" if version == 2 => {
                rate = self.window.bytes_at(body.start + 32)?.map_or(0.0, f64::from_be_bytes).round() as u32;
                channels = self.number(body.start + 40)?.unwrap_or(0);
                let flags = self.number(body.start + 52)?.unwrap_or(0);
                let packet = self.number(body.start + 56)?.unwrap_or(0);
                let bytes = packet.checked_div(channels).unwrap_or(0) as usize;
                let bits = self.number(body.start + 48)?.unwrap_or(0) as usize;
                let least = bits.div_ceil(8);
                let (is_float, big, is_signed, is_high) =
                    (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0, flags & 16 != 0);
                // Bits at the high end of more bytes are those of a wider sample.
                raw_width = (bytes > least && !is_high && !big && !is_float).then_some(bytes);
                let wide = if raw_width.is_none() && bytes > least { bytes } else { least };
                if is_float {
                    float(wide, big)
                } else {
                    integer(wide, big, is_signed)
                }
            }
            b"lpcm" => quicktime(b"twos", bits, false),
            b"ipcm" | b"fpcm" => {
                let header = self.find(children, b"pcmC")?.unwrap_or(0..0);
                let [little, bits] = self.window.bytes_at(header.start + 4)?.unwrap_or([0, 0]);
                let bytes = usize::from(bits / 8);
                if kind == *b"fpcm" {
                    float(bytes, little & 1 == 0)
                } else {
                    integer(bytes, little & 1 == 0, true)
                }
            }
            kind => {
                let own = self.find(children, b"enda")?;
                let order = match own {
                    Some(order) => Some(order),
                    None => self.find(wave, b"enda")?,
                };
                let little = match order {
                    Some(order) => self.short(order.start)? != 0,
                    None => false,
                };
                quicktime(kind, bits, little)
            }
        };
        let (Some(codec), Ok(channels)) = (codec, u16::try_from(channels)) else { return Ok((at, Entry::Named(name))) };
        let mut raw = Raw { codec, width: raw_width.unwrap_or(width(codec)), channels, rate, parts: Vec::new() };
        Ok((
            at,
            match self.parts(tables, raw.frame())? {
                Some(parts) => {
                    raw.parts = parts;
                    Entry::Raw(raw)
                }
                None => Entry::Named(format!("{name} in too many chunks")),
            },
        ))
    }

    /// Where the samples of a track lie, or none if those are more places than any recording needs.
    fn parts(&mut self, tables: Range<u64>, frame: u64) -> io::Result<Option<Vec<Range<u64>>>> {
        let mut parts: Vec<Range<u64>> = Vec::new();
        let Some(sizes) = self.find(tables.clone(), b"stsz")? else { return Ok(Some(parts)) };
        let is_constant = self.number(sizes.start + 4)? != Some(0);
        let mut left = self.number(sizes.start + 8)?.unwrap_or(0);
        let own_sizes = if is_constant { Vec::new() } else { self.table(sizes.start + 12..sizes.end)? };
        let mut own_sizes = own_sizes.chunks_exact(4).map(be32);
        let (offsets, wide) = match self.find(tables.clone(), b"stco")? {
            Some(offsets) => (offsets, false),
            None => (self.find(tables.clone(), b"co64")?.unwrap_or(0..0), true),
        };
        let runs = self.find(tables, b"stsc")?.unwrap_or(0..0);
        let bytes_of = if wide { 8 } else { 4 };
        if offsets.end - offsets.start > MOST_PARTS * bytes_of || runs.end - runs.start > MOST_PARTS * 12 {
            return Ok(None);
        }
        let offsets = self.table(offsets.start + 8..offsets.end)?;
        let runs = self.table(runs.start + 8..runs.end)?;
        let mut runs = runs.chunks_exact(12).map(|run| (be32(run), be32(&run[4..]))).peekable();
        let mut samples_of_chunk = 0;
        for (chunk, offset) in (1u32..).zip(offsets.chunks_exact(bytes_of as usize)) {
            while let Some((_, samples)) = runs.next_if(|(first, _)| *first <= chunk) {
                samples_of_chunk = samples;
            }
            let start =
                if wide { u64::from(be32(offset)) << 32 | u64::from(be32(&offset[4..])) } else { be32(offset).into() };
            let samples = samples_of_chunk.min(left);
            left -= samples;
            let bytes = if is_constant {
                u64::from(samples) * frame
            } else {
                own_sizes.by_ref().take(samples as usize).map(u64::from).sum()
            };
            let end = start.saturating_add(bytes);
            match parts.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ if bytes > 0 => parts.push(start..end),
                _ => {}
            }
        }
        Ok(Some(parts))
    }

    /// The stretches that a list says are to be heard, in the order of the sound; or what keeps it from being read.
    fn stretches(
        &mut self,
        list: Range<u64>,
        movie_scale: f64,
        media_scale: f64,
    ) -> io::Result<Result<Vec<Edit>, String>> {
        let wide = self.is_wide(&list)?;
        let entries = u64::from(self.number(list.start + 4)?.unwrap_or(0));
        let size = if wide { 20 } else { 12 };
        let there = list.end.saturating_sub(list.start + 8) / size;
        if entries > there.min(MOST_STRETCHES) {
            return Ok(Err(format!("of {entries} entries, where {there} are there and {MOST_STRETCHES} are read")));
        }
        let mut stretches: Vec<Edit> = Vec::new();
        for entry in 0..entries {
            let at = list.start + 8 + entry * size;
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
            let rate = self.number(at + size - 4)?.unwrap_or(0);
            if rate != 1 << 16 {
                return Ok(Err(format!("at {} times the speed", f64::from(rate) / 65_536.0)));
            }
            let mut start_s = start / media_scale;
            let is_last = entry + 1 == entries;
            // Some writers round down. A fragmented file states 0: it did not know.
            let ends = match (ticks, is_last) {
                (0.0, false) => continue,
                (0.0, true) => None,
                (ticks, is_last) => Some(start_s + (ticks + f64::from(u8::from(is_last))) / movie_scale),
            };
            if let Some(Edit { end_s, .. }) = stretches.last() {
                let before_s = end_s.unwrap_or(f64::INFINITY);
                // Ends are rounded to ticks of the movie, starts to those of the sound.
                if start_s < before_s - 1.5 / movie_scale - 1.0 / media_scale {
                    return Ok(Err("that repeats sound or brings it in another order".to_owned()));
                }
                start_s = start_s.max(before_s);
            }
            stretches.push(Edit { start_s, end_s: ends });
        }
        // Nothing but silence.
        if stretches.is_empty() && entries > 0 {
            stretches.push(Edit { start_s: 0.0, end_s: Some(0.0) });
        }
        Ok(Ok(stretches))
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

    fn short(&mut self, at: u64) -> io::Result<u16> {
        Ok(self.window.bytes_at(at)?.map_or(0, u16::from_be_bytes))
    }

    /// The bytes of a table, of which there are no more than the source has.
    fn table(&mut self, at: Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(at.end.saturating_sub(at.start)).unwrap_or(0)];
        let there = self.window.read_at(at.start, &mut bytes)?;
        bytes.truncate(there);
        Ok(bytes)
    }
}

/// Twelve chunks for every second of a day.
const MOST_PARTS: u64 = 1 << 20;

/// More cuts than an editor makes in a day.
const MOST_STRETCHES: u64 = 65_536;

fn be32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
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

    /// A movie of 1000 ticks a second, with a track of pictures and one of sound of 16,000.
    fn film(version: u8, entries: &[(i64, i64, u32)]) -> Vec<u8> {
        let mut list = vec![version, 0, 0, 0];
        list.extend((entries.len() as u32).to_be_bytes());
        for (ticks, start, rate) in entries {
            match version {
                0 => list.extend([(*ticks as i32).to_be_bytes(), (*start as i32).to_be_bytes()].concat()),
                _ => list.extend([ticks.to_be_bytes(), start.to_be_bytes()].concat()),
            }
            list.extend(rate.to_be_bytes());
        }
        let track = |handler: &[u8]| {
            let entry = boxed(b"sowt", &[&[0; 16][..], &[0, 2, 0, 16, 0, 0, 0, 0, 0x3e, 0x80, 0, 0]].concat());
            let description = boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &entry].concat());
            let media = [
                header(b"mdhd", 16_000),
                boxed(b"hdlr", &[&[0; 8][..], handler, &[0; 12]].concat()),
                boxed(b"minf", &boxed(b"stbl", &description)),
            ];
            let list = boxed(b"edts", &boxed(b"elst", &list));
            boxed(b"trak", &[header(b"tkhd", 7), list, boxed(b"mdia", &media.concat())].concat())
        };
        let movie = [header(b"mvhd", 1000), boxed(b"trak", &[]), track(b"vide"), track(b"soun")].concat();
        [boxed(b"ftyp", b"mp42"), boxed(b"mdat", &[9; 99]), boxed(b"moov", &movie)].concat()
    }

    fn movie_of(bytes: &[u8]) -> Movie {
        movie(&mut Window::new(from_bytes(bytes.to_vec()), &Limits::default(), &never).unwrap()).unwrap()
    }

    fn edits_of(bytes: &[u8]) -> Result<Vec<Edit>, String> {
        let [sound] = <[Sound; 1]>::try_from(movie_of(bytes).sounds).unwrap();
        sound.edits
    }

    const ONE: u32 = 1 << 16;

    #[test]
    fn the_delay_of_an_encoder() {
        for version in [0, 1] {
            let edit = Edit { start_s: 0.064, end_s: Some(1.565) };
            assert_eq!(edits_of(&film(version, &[(1500, 1024, ONE)])), Ok(vec![edit]));
            let late = film(version, &[(300, -1, ONE), (1500, 1024, ONE)]);
            assert_eq!(edits_of(&late), Ok(vec![edit]), "silence in front");
            let open = Edit { start_s: 0.064, end_s: None };
            assert_eq!(edits_of(&film(version, &[(0, 1024, ONE)])), Ok(vec![open]), "of a fragmented file");
            assert_eq!(edits_of(&film(version, &[])), Ok(vec![]));
        }
    }

    #[test]
    fn any_number_of_stretches() {
        for version in [0, 1] {
            let many: Vec<_> = (0..50).map(|n| (100, n * 3200, ONE)).collect();
            let edits = edits_of(&film(version, &many)).unwrap();
            let wanted = |n: u32| Edit { start_s: f64::from(n) / 5.0, end_s: Some(f64::from(n) / 5.0 + 0.1) };
            assert_eq!(edits[..49], (0..49).map(wanted).collect::<Vec<_>>());
            assert_eq!(edits[49].end_s, Some(9.8 + 0.101), "some writers round down");
            let pause = [(500, 0, ONE), (300, -1, ONE), (500, 8000, ONE)];
            let edits = edits_of(&film(version, &pause)).unwrap();
            assert_eq!(edits, [Edit { start_s: 0.0, end_s: Some(0.5) }, Edit { start_s: 0.5, end_s: Some(1.001) }]);
            let silence = Edit { start_s: 0.0, end_s: Some(0.0) };
            assert_eq!(edits_of(&film(version, &[(300, -1, ONE)])), Ok(vec![silence]), "nothing else");
        }
        let far = 1 << 40;
        let edits = edits_of(&film(1, &[(1000, far, ONE)])).unwrap();
        assert_eq!(edits[0].start_s, far as f64 / 16_000.0, "beyond 32 bits");
    }

    #[test]
    fn what_is_not_kept_to_is_said() {
        let refusal = |entries: &[(i64, i64, u32)]| edits_of(&film(0, entries)).unwrap_err();
        assert_eq!(refusal(&[(1500, 1024, ONE), (1500, 0, ONE)]), "that repeats sound or brings it in another order");
        assert_eq!(refusal(&[(1500, 0, ONE / 2)]), "at 0.5 times the speed");
        assert_eq!(refusal(&[(1500, 0, 0)]), "at 0 times the speed");
        let mut short = film(0, &[(1500, 1024, ONE)]);
        let count = short.windows(4).rposition(|kind| kind == b"elst").unwrap() + 8;
        short[count..count + 4].copy_from_slice(&2u32.to_be_bytes());
        let half = Err("of 2 entries, where 1 are there and 65536 are read".to_owned());
        assert_eq!(edits_of(&short), half, "not half of it");
    }

    #[test]
    fn one_track_is_shown() {
        let bytes = film(0, &[]);
        let found = movie_of(&bytes);
        assert_eq!((found.sounds.len(), found.others.len()), (1, 2));
        let mut window = Window::new(from_bytes(bytes.clone()), &Limits::default(), &never).unwrap();
        found.show(&mut window, 0);
        let mut shown = vec![0; bytes.len()];
        window.read_at(0, &mut shown).unwrap();
        let count = |kind: &[u8]| shown.windows(4).filter(|four| *four == kind).count();
        assert_eq!((count(b"trak"), count(b"free")), (1, 2));
    }

    #[test]
    fn cut_files_end() {
        let film = film(0, &[(1500, 1024, ONE)]);
        for end in 1..film.len() {
            assert_eq!(movie_of(&film[..end]), Movie::default(), "cut after {end} bytes");
        }
    }
}
