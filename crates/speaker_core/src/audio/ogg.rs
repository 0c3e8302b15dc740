//! What the pages of an Ogg file say of its streams: their codecs, and where each ends.
//!
//! A page's granule position is the time at its end. Symphonia 0.6.1 believes every one of them and drops what is beyond,
//! but some writers count at another rate, or not at all (amishshah/prism-media#114). So the position counts only where
//! RFC 7845 gives it a meaning for the length: on the page that ends a stream, where it may cut off less than a packet of
//! what is there. One that would cut more is wrong, and so is one that does not fit the sound in front of it.
//!
//! Sources: RFC 3533 (pages), RFC 7845 4.4 (end trimming), Vorbis I appendix A.2; xiph.org's MIMETypesCodecs (marks).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::ControlFlow;

use super::source::Window;
use super::AudioError;
use crate::Check;

/// A logical stream.
#[derive(Debug, PartialEq)]
pub(super) struct Link {
    pub(super) serial: u32,
    /// The codec by its mark, none if it is no sound.
    pub(super) codec: Option<String>,
    /// Whether Symphonia knows it.
    pub(super) is_readable: bool,
    end: Option<End>,
    /// The granule position before the last page.
    position: u64,
}

/// The last page of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
struct End {
    /// The granule positions at its end and its start.
    position: u64,
    before: u64,
    /// The packets that end on it.
    packets: usize,
}

/// Walks the pages.
pub(super) fn links(window: &mut Window, check: Check) -> Result<Vec<Link>, AudioError> {
    let mut links: Vec<Link> = Vec::new();
    let mut of_serial: HashMap<u32, usize> = HashMap::new();
    let mut at = 0;
    while let Some(page) = page_from(window, at)? {
        at = page.ends;
        if let ControlFlow::Break(()) = check() {
            return Err(AudioError::Interrupted);
        }
        if page.flags & 2 != 0 {
            let mut mark = [0; 32];
            window.read_at(page.body, &mut mark)?;
            let (codec, is_readable) = codec(&mark);
            of_serial.insert(page.serial, links.len());
            links.push(Link { serial: page.serial, codec, is_readable, end: None, position: 0 });
            continue;
        }
        let Some(link) = of_serial.get(&page.serial).and_then(|index| links.get_mut(*index)) else { continue };
        if page.packets > 0 && page.position != u64::MAX {
            if page.flags & 4 != 0 {
                link.end = Some(End { position: page.position, before: link.position, packets: page.packets });
            }
            link.position = page.position;
        }
    }
    Ok(links)
}

struct Page {
    flags: u8,
    position: u64,
    serial: u32,
    packets: usize,
    body: u64,
    ends: u64,
}

/// The first page that begins at `at` or behind it.
fn page_from(window: &mut Window, mut at: u64) -> io::Result<Option<Page>> {
    let mut bytes = vec![0; 27 + 255];
    loop {
        let there = window.read_at(at, &mut bytes)?;
        let found = bytes[..there].windows(4).position(|mark| mark == b"OggS");
        match found {
            Some(0) => {}
            Some(offset) => {
                at += offset as u64;
                continue;
            }
            None if there < bytes.len() => return Ok(None),
            None => {
                // Behind damage there may be much to look through.
                at += there as u64 - 3;
                bytes.resize(64 * 1024, 0);
                continue;
            }
        }
        let Some(header) = bytes[..there].first_chunk::<27>() else { return Ok(None) };
        let segments = usize::from(header[26]);
        let Some(lacing) = bytes[..there].get(27..27 + segments) else { return Ok(None) };
        let body = at + 27 + segments as u64;
        let ends = body + lacing.iter().map(|&size| u64::from(size)).sum::<u64>();
        let packets = lacing.iter().filter(|&&size| size < 255).count();
        let [_, _, _, _, _, flags, p0, p1, p2, p3, p4, p5, p6, p7, s0, s1, s2, s3, ..] = *header;
        let position = u64::from_le_bytes([p0, p1, p2, p3, p4, p5, p6, p7]);
        return Ok(Some(Page { flags, position, serial: u32::from_le_bytes([s0, s1, s2, s3]), packets, body, ends }));
    }
}

/// The codec of a first packet, and whether it can be read.
fn codec(mark: &[u8; 32]) -> (Option<String>, bool) {
    let named = |name: &str| (Some(name.to_owned()), false);
    match mark {
        [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', ..] => match mark[18] {
            0 | 1 => (Some("opus".to_owned()), true),
            family => named(&format!("opus (channel mapping family {family})")),
        },
        [1, b'v', b'o', b'r', b'b', b'i', b's', ..] => (Some("vorbis".to_owned()), true),
        [0x7f, b'F', b'L', b'A', b'C', ..] => (Some("flac".to_owned()), true),
        [b'S', b'p', b'e', b'e', b'x', b' ', b' ', b' ', ..] => named("speex"),
        [b'C', b'E', b'L', b'T', b' ', b' ', b' ', b' ', ..] => named("celt"),
        [b'P', b'C', b'M', b' ', b' ', b' ', b' ', b' ', ..] => named("pcm in ogg"),
        [b'O', b'g', b'g', b'M', b'I', b'D', b'I', 0, ..] => named("midi"),
        [b'f', b'L', b'a', b'C', ..] => named("flac (before its mapping to ogg)"),
        // Pictures, texts, and the table of what is in the file.
        [0x80, b't', b'h', b'e', b'o', b'r', b'a', ..]
        | [0x80, b'k', b'a', b't', b'e', ..]
        | [b'f', b'i', b's', b'h', b'e', b'a', b'd', 0, ..]
        | [b'B', b'B', b'C', b'D', 0, ..]
        | [b'O', b'V', b'P', b'8', b'0', ..]
        | [1, b'v', b'i', b'd', b'e', b'o', ..]
        | [b'C', b'M', b'M', b'L', ..]
        | [0x8b, b'J', b'N', b'G', ..]
        | [0x8a, b'M', b'N', b'G', ..]
        | [b'Y', b'U', b'V', b'4', b'M', b'P', b'E', b'G', ..] => (None, false),
        [first, rest @ ..] => {
            let is_text = |byte: &&u8| byte.is_ascii_alphanumeric();
            let text: String = rest.iter().take_while(is_text).take(8).map(|&byte| char::from(byte)).collect();
            let first = if first.is_ascii_alphanumeric() { char::from(*first).to_string() } else { String::new() };
            match (first + &text).to_ascii_lowercase() {
                name if name.is_empty() => named("of an unknown mark in ogg"),
                name => named(&format!("{name} in ogg")),
            }
        }
    }
}

/// Frames of a stream as they pass, to tell what of the last packet is padding.
#[derive(Debug, Default)]
pub(super) struct Passed {
    total: u64,
    /// Frames of the last packets, as many as a page can hold.
    recent: VecDeque<u64>,
}

impl Passed {
    pub(super) fn packet(&mut self, frames: u64) {
        self.total += frames;
        if self.recent.len() == 255 {
            self.recent.pop_front();
        }
        self.recent.push_back(frames);
    }

    /// The frames at the end of the last packet that are padding.
    pub(super) fn padding(&self, link: &Link) -> u64 {
        let Some(End { position, before, packets }) = link.end else { return 0 };
        let on_page: u64 = self.recent.iter().rev().take(packets).sum();
        let last = self.recent.back().copied().unwrap_or(0);
        let padding = on_page.saturating_sub(position.saturating_sub(before));
        // Counted right, the whole stream has no more beyond its end than the last page has.
        let fits = self.total.saturating_sub(position) <= padding;
        if position > before && padding < last && fits {
            padding
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{from_bytes, Limits};
    use super::*;
    use crate::never;

    fn page(flags: u8, position: u64, serial: u32, packets: &[&[u8]]) -> Vec<u8> {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend(position.to_le_bytes());
        page.extend(serial.to_le_bytes());
        page.extend([0; 8]);
        page.push(packets.len() as u8);
        page.extend(packets.iter().map(|packet| packet.len() as u8));
        page.extend(packets.concat());
        page
    }

    fn links_of(bytes: &[u8]) -> Vec<Link> {
        links(&mut Window::new(from_bytes(bytes.to_vec()), &Limits::default(), &never).unwrap(), &never).unwrap()
    }

    #[test]
    fn streams_are_told_apart_and_named() {
        let file = [
            page(2, 0, 7, &[b"Speex   1.2"]),
            page(2, 0, 8, &[b"\x80theora"]),
            b"damage".repeat(20_000),
            page(0, 960, 7, &[b"1", b"2"]),
            page(0, u64::MAX, 7, &[b"3"]),
            page(4, 1_500, 7, &[b"4", b"5", b"6"]),
        ]
        .concat();
        let end = Some(End { position: 1_500, before: 960, packets: 3 });
        let speex = Link { serial: 7, codec: Some("speex".into()), is_readable: false, end, position: 1_500 };
        let film = Link { serial: 8, codec: None, is_readable: false, end: None, position: 0 };
        assert_eq!(links_of(&file), [speex, film]);
        assert_eq!(links_of(&page(2, 0, 1, &[b"\x01new..."]))[0].codec.as_deref(), Some("new in ogg"));
    }

    #[test]
    fn only_padding_is_cut() {
        // Three packets of 960 frames, the last two on the last page.
        let padding = |before, position| {
            let mut passed = Passed::default();
            (0..3).for_each(|_| passed.packet(960));
            let end = Some(End { position, before, packets: 2 });
            passed.padding(&Link { serial: 1, codec: None, is_readable: true, end, position })
        };
        assert_eq!(padding(960, 2_380), 500);
        assert_eq!(padding(960, 2_880), 0);
        assert_eq!(padding(960, 3_000), 0, "a page was lost");
        assert_eq!(padding(100_960, 102_380), 500, "recorded from the middle of a broadcast");
        assert_eq!(padding(960, 1_900), 0, "a whole packet");
        assert_eq!(padding(320, 960), 0, "a third of the time");
        assert_eq!(padding(0, 1_500), 0, "sound in front of no time");
        assert_eq!(padding(0, 0), 0);
        assert_eq!(padding(960, 500), 0, "backwards");
    }
}
