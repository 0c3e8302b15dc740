//! Where the parts of a file begin and end, and where their lengths are written: chunks, boxes, pages, elements, frames.
//!
//! Wrong answers do no harm: they are only other places to damage.

use std::ops::Range;

/// A length field.
#[derive(Debug, Clone)]
pub struct Field {
    pub at: Range<usize>,
    pub form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    Big,
    Little,
    /// EBML: the first bits tell the width.
    Vint,
}

#[derive(Debug, Default)]
pub struct Parts {
    pub parts: Vec<Range<usize>>,
    pub lengths: Vec<Field>,
}

/// Enough to choose from, however many frames there are.
const MOST: usize = 2_000;

pub fn parts(bytes: &[u8]) -> Parts {
    let mut found = Parts::default();
    let all = 0..bytes.len();
    match bytes {
        [b'R', b'I', b'F' | b'6', ..] => chunks(bytes, Form::Little, &mut found),
        [b'F', b'O', b'R', b'M', ..] => chunks(bytes, Form::Big, &mut found),
        [b'O', b'g', b'g', b'S', ..] => pages(bytes, &mut found),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => elements(bytes, all, &mut found),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => boxes(bytes, all, &mut found),
        [b'f', b'L', b'a', b'C', ..] => {
            let at = metadata(bytes, &mut found);
            frames(bytes, at, &mut found);
        }
        _ => frames(bytes, 0, &mut found),
    }
    found
}

fn number(bytes: &[u8], at: usize, width: usize, form: Form) -> Option<usize> {
    let field = bytes.get(at..at + width)?;
    let fold = |number: usize, byte: &u8| number << 8 | usize::from(*byte);
    Some(match form {
        Form::Little => field.iter().rev().fold(0, fold),
        _ => field.iter().fold(0, fold),
    })
}

impl Parts {
    fn is_full(&self) -> bool {
        self.parts.len() >= MOST
    }

    fn part(&mut self, start: usize, end: usize, length: Range<usize>, form: Form) {
        self.parts.push(start..end);
        self.lengths.push(Field { at: length, form });
    }
}

fn chunks(bytes: &[u8], form: Form, found: &mut Parts) {
    found.lengths.push(Field { at: 4..8, form });
    let mut at = 12;
    while let Some(size) = number(bytes, at + 4, 4, form).filter(|_| !found.is_full()) {
        let end = at.saturating_add(8 + size + size % 2).min(bytes.len());
        found.part(at, end, at + 4..at + 8, form);
        at = end;
    }
}

fn boxes(bytes: &[u8], within: Range<usize>, found: &mut Parts) {
    const NESTED: [&[u8; 4]; 14] = [
        b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"udta", b"dinf", b"wave",
        b"mp4a", b"Opus",
    ];
    let mut at = within.start;
    while let Some(size) = number(bytes, at, 4, Form::Big).filter(|_| at + 8 <= within.end && !found.is_full()) {
        let end = at.saturating_add(size.max(8)).min(within.end);
        found.part(at, end, at..at + 4, Form::Big);
        let kind = &bytes[at + 4..at + 8];
        let skip = match kind {
            b"stsd" => 16,
            b"mp4a" | b"Opus" => 36,
            _ => 8,
        };
        if (NESTED.iter().any(|nested| *nested == kind) || kind == b"stsd") && at + skip < end {
            boxes(bytes, at + skip..end, found);
        } else if end - at >= 16 {
            // Most boxes begin with version and flags, then a count.
            found.lengths.push(Field { at: at + 12..at + 16, form: Form::Big });
        }
        at = end;
    }
}

fn pages(bytes: &[u8], found: &mut Parts) {
    let mut at = 0;
    while let Some(page) = page_at(bytes, at).filter(|_| !found.is_full()) {
        found.part(page.start, page.end, page.start + 26..page.start + 27, Form::Little);
        // The granule position, and the length of the first packet.
        found.lengths.push(Field { at: page.start + 6..page.start + 14, form: Form::Little });
        found.lengths.push(Field { at: page.start + 27..page.start + 28, form: Form::Little });
        at = page.end;
    }
}

fn page_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let header = bytes.get(at..)?.strip_prefix(b"OggS")?;
    let segments = usize::from(*header.get(22)?);
    let body: usize = header.get(23..23 + segments)?.iter().map(|&lace| usize::from(lace)).sum();
    let end = at + 27 + segments + body;
    (end <= bytes.len()).then_some(at..end)
}

/// Makes the checksums of all Ogg pages right again, so that what they hold is read.
pub fn fix_checksums(bytes: &mut [u8]) {
    let mut at = 0;
    while at + 27 <= bytes.len() {
        let Some(page) = page_at(bytes, at) else {
            at += 1;
            continue;
        };
        at = page.end;
        let page = &mut bytes[page];
        page[22..26].fill(0);
        // RFC 3533: CRC-32 of polynomial 0x04c11db7, not reflected, from 0.
        let crc = page.iter().fold(0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
        });
        page[22..26].copy_from_slice(&crc.to_le_bytes());
    }
}

fn elements(bytes: &[u8], within: Range<usize>, found: &mut Parts) {
    // Header, segment, cluster, tracks, track, audio, info, block group, cues, cue point, seek head, seek.
    const NESTED: [usize; 13] = [
        0x1a45dfa3, 0x18538067, 0x1f43b675, 0x1654ae6b, 0xae, 0xe1, 0x1549a966, 0xa0, 0x1c53bb6b, 0xbb, 0xb7,
        0x114d9b74, 0x4dbb,
    ];
    let width_at = |at: usize| bytes.get(at).map(|byte| byte.leading_zeros() as usize + 1).filter(|width| *width <= 8);
    let mut at = within.start;
    while let Some(id_width) = width_at(at).filter(|width| *width <= 4 && at < within.end && !found.is_full()) {
        let Some(id) = number(bytes, at, id_width, Form::Big) else { break };
        let size_at = at + id_width;
        let Some(width) = width_at(size_at) else { break };
        let Some(size) = number(bytes, size_at, width, Form::Big) else { break };
        let most = (1usize << (7 * width)) - 1;
        let body = size_at + width;
        let end = if size & most == most { within.end } else { body.saturating_add(size & most).min(within.end) };
        if body > end {
            break;
        }
        found.part(at, end, size_at..body, Form::Vint);
        if NESTED.contains(&id) {
            elements(bytes, body..end, found);
        }
        at = end;
    }
}

/// The metadata blocks of FLAC; returns where they end.
fn metadata(bytes: &[u8], found: &mut Parts) -> usize {
    let mut at = 4;
    while let Some(size) = number(bytes, at + 1, 3, Form::Big).filter(|_| !found.is_full()) {
        let end = at.saturating_add(4 + size).min(bytes.len());
        found.part(at, end, at + 1..at + 4, Form::Big);
        let is_last = bytes[at] & 0x80 != 0;
        at = end;
        if is_last {
            break;
        }
    }
    at
}

/// From sync word to sync word; the bytes behind it hold rates and lengths.
fn frames(bytes: &[u8], from: usize, found: &mut Parts) {
    let mut start = None;
    for at in from..bytes.len().saturating_sub(8) {
        if bytes[at] == 0xff && bytes[at + 1] & 0xe0 == 0xe0 && !found.is_full() {
            if let Some(start) = start.replace(at) {
                found.part(start, at, start + 2..start + 6, Form::Big);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../../crates/speaker_core/tests/data/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn every_container_has_parts() {
        for (name, least) in [
            ("speech.wav", 2),
            ("speech.aiff", 2),
            ("speech.opus", 3),
            ("speech.webm", 20),
            ("speech_live.webm", 20),
            ("film.mp4", 30),
            ("speech_fragmented.mp4", 30),
            ("speech.flac", 10),
            ("speech.mp3", 30),
            ("speech.aac", 20),
        ] {
            let bytes = sample(name);
            let found = parts(&bytes);
            assert!(found.parts.len() >= least, "{name}: {} parts", found.parts.len());
            assert!(found.parts.iter().all(|part| part.start < part.end && part.end <= bytes.len()), "{name}");
        }
    }

    #[test]
    fn checksums_are_those_of_the_encoder() {
        let original = sample("speech.opus");
        let mut bytes = original.clone();
        bytes[22..26].fill(7);
        fix_checksums(&mut bytes);
        assert!(bytes == original);
    }
}
