//! Tells a container by its bytes.
//!
//! Symphonia has a probe of its own. It is not used, because it looks for markers of two bytes anywhere in the first
//! megabyte: in a JPEG or an encrypted file it finds "MP3" sooner or later. Here a container must start where the file
//! starts, behind ID3v2 tags at most. MPEG audio and ADTS have no marker but a sync word, so they must show a chain of
//! frame headers, each where the one before it says; they may start a little later, as recordings of radio streams do.
//!
//! Sources: ISO/IEC 11172-3 and 13818-3 (MPEG audio), 13818-7 (ADTS), id3.org/id3v2.4.0-structure.

use symphonia::core::errors::Result as SymphoniaResult;
use symphonia::core::formats::{FormatOptions, FormatReader};
use symphonia::core::io::{MediaSourceStream, ReadBytes};
use symphonia::default::formats::{
    AdtsReader, AiffReader, FlacReader, IsoMp4Reader, MkvReader, MpaReader, OggReader, WavReader,
};

use super::source::Window;
use super::AudioError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Wav,
    Aiff,
    Flac,
    /// MPEG audio frames of any layer, one after the other.
    Mpeg,
    /// AAC in ADTS frames, one after the other.
    Adts,
    Mp4,
    Ogg,
    Matroska,
}

impl Container {
    /// The name that users know.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Aiff => "aiff",
            Self::Flac => "flac",
            Self::Mpeg => "mp3",
            Self::Adts => "aac",
            Self::Mp4 => "mp4",
            Self::Ogg => "ogg",
            Self::Matroska => "matroska",
        }
    }

    pub(super) fn open<'s>(self, mut stream: MediaSourceStream<'s>) -> SymphoniaResult<Box<dyn FormatReader + 's>> {
        let options = FormatOptions::default();
        Ok(match self {
            Self::Wav => Box::new(WavReader::try_new(stream, options)?),
            Self::Aiff => Box::new(AiffReader::try_new(stream, options)?),
            Self::Flac => Box::new(FlacReader::try_new(stream, options)?),
            Self::Mpeg => Box::new(MpaReader::try_new(stream, options)?),
            Self::Adts => Box::new(AdtsReader::try_new(stream, options)?),
            Self::Mp4 => {
                // This reader expects to be placed on the type of the first box, behind its size.
                stream.read_quad_bytes()?;
                Box::new(IsoMp4Reader::try_new(stream, options)?)
            }
            Self::Ogg => Box::new(OggReader::try_new(stream, options)?),
            Self::Matroska => Box::new(MkvReader::try_new(stream, options)?),
        })
    }
}

/// Tells the container and cuts what is in front of it off the window.
pub(super) fn sniff(window: &mut Window) -> Result<Container, AudioError> {
    let unknown = AudioError::UnknownFormat { bytes: window.len() };
    skip_id3(window)?;
    let mut head = vec![0; HEAD];
    let n = window.read_at(0, &mut head)?;
    head.truncate(n);
    if let Some(container) = by_magic(&head, window.len()) {
        return Ok(container);
    }
    let (container, offset) = by_frames(&head, window.len()).ok_or(unknown)?;
    window.cut_front(offset as u64);
    Ok(container)
}

/// How far to look for the first frame of MPEG audio or ADTS.
const HEAD: usize = 64 * 1024;

/// Skips tags, which may carry megabytes of cover art.
fn skip_id3(window: &mut Window) -> Result<(), AudioError> {
    // Taggers that know no better write a tag in front of a tag.
    for _ in 0..8 {
        let Some(header) = window.bytes_at::<10>(0)? else { break };
        let [b'I', b'D', b'3', _, _, flags, size @ ..] = header else { break };
        if size.iter().any(|&byte| byte > 0x7f) {
            break;
        }
        let size = size.iter().fold(0, |size, &byte| size << 7 | u64::from(byte));
        let footer = if flags & 0x10 == 0 { 0 } else { 10 };
        window.cut_front(10 + size + footer);
    }
    Ok(())
}

fn by_magic(head: &[u8], len: u64) -> Option<Container> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if (at(0, b"RIFF") || at(0, b"RF64")) && at(8, b"WAVE") {
        Some(Container::Wav)
    } else if at(0, b"FORM") && (at(8, b"AIFF") || at(8, b"AIFC")) {
        Some(Container::Aiff)
    } else if at(0, b"fLaC") {
        Some(Container::Flac)
    } else if at(0, b"OggS") {
        Some(Container::Ogg)
    } else if at(0, b"\x1a\x45\xdf\xa3") {
        Some(Container::Matroska)
    } else if at(4, b"ftyp") {
        Some(Container::Mp4)
    } else if [&b"moov"[..], b"mdat", b"free", b"skip", b"wide"].iter().any(|kind| at(4, kind)) {
        // QuickTime of old has no brand in front. "the free" is text, and a size of 1.9 GB.
        let size = head.first_chunk().map_or(0, |size| u64::from(u32::from_be_bytes(*size)));
        (size <= len).then_some(Container::Mp4)
    } else {
        None
    }
}

/// Finds the first chain of frames: three in a row, or fewer if the file ends sooner.
fn by_frames(head: &[u8], len: u64) -> Option<(Container, usize)> {
    (0..head.len()).find_map(|start| {
        if chain_starts(head, start, len, mpeg_frame) {
            Some((Container::Mpeg, start))
        } else if chain_starts(head, start, len, adts_frame) {
            Some((Container::Adts, start))
        } else {
            None
        }
    })
}

fn chain_starts(head: &[u8], start: usize, len: u64, parse: fn(&[u8]) -> Option<Frame>) -> bool {
    let mut at = start;
    let mut kind = None;
    for links in 0..3 {
        let Some(frame) = head.get(at..).and_then(parse) else {
            // The file may end here. A single frame counts only if it is the whole file.
            let ends = at as u64 + SHORTEST_HEADER > len;
            return ends && (links == 2 || links == 1 && start == 0 && at as u64 == len);
        };
        if *kind.get_or_insert(frame.kind) != frame.kind {
            return false;
        }
        at += frame.len;
    }
    true
}

/// An MPEG frame header; what no file has room for any more has ended.
const SHORTEST_HEADER: u64 = 4;

/// What a frame header says about where the next one is, and how it must look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Frame {
    /// Bytes from this header to the next.
    len: usize,
    /// The bits that stay the same within a stream.
    kind: [u8; 3],
    /// Samples per second.
    pub(super) rate: u32,
}

/// Parses the header of an MPEG audio frame, any version and layer but free format.
pub(super) fn mpeg_frame(bytes: &[u8]) -> Option<Frame> {
    // In kbit/s; rows: version 1 layers I, II, III, versions 2 and 2.5 layer I, layers II and III.
    const BIT_RATES: [[u32; 14]; 5] = [
        [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
        [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
        [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
        [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
        [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
    ];
    let &[0xff, b1, b2, _] = bytes.first_chunk()? else { return None };
    if b1 & 0xe0 != 0xe0 {
        return None;
    }
    let (version_1, rate_shift) = match b1 >> 3 & 3 {
        0 => (false, 2), // version 2.5
        2 => (false, 1), // version 2
        3 => (true, 0),
        _ => return None,
    };
    let layer = match b1 >> 1 & 3 {
        1 => 3,
        2 => 2,
        3 => 1,
        _ => return None,
    };
    let row = match (version_1, layer) {
        (true, layer) => layer - 1,
        (false, 1) => 3,
        (false, _) => 4,
    };
    let bit_rate = 1000 * BIT_RATES[row].get(usize::from(b2 >> 4).checked_sub(1)?)?;
    let rate = [44_100, 48_000, 32_000].get(usize::from(b2 >> 2 & 3))? >> rate_shift;
    let padding = u32::from(b2 >> 1 & 1);
    let len = match (layer, version_1) {
        (1, _) => (12 * bit_rate / rate + padding) * 4,
        (3, false) => 72 * bit_rate / rate + padding,
        _ => 144 * bit_rate / rate + padding,
    };
    Some(Frame { len: len as usize, kind: [b1 & 0x1e, b2 & 0x0c, 0], rate })
}

/// Parses the header of an ADTS frame.
fn adts_frame(bytes: &[u8]) -> Option<Frame> {
    const RATES: [u32; 13] =
        [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
    let &[0xff, b1, b2, b3, b4, b5] = bytes.first_chunk()? else { return None };
    if b1 & 0xf6 != 0xf0 {
        return None;
    }
    let rate = *RATES.get(usize::from(b2 >> 2 & 0xf))?;
    let len = usize::from(b3 & 3) << 11 | usize::from(b4) << 3 | usize::from(b5 >> 5);
    (len >= 7).then_some(Frame { len, kind: [b1, b2 & 0xfd, b3 & 0xc0], rate })
}

#[cfg(test)]
mod tests {
    use super::super::{from_bytes, Limits};
    use super::*;
    use crate::never;

    fn container(bytes: &[u8]) -> Result<(Container, u64), AudioError> {
        let mut window = Window::new(from_bytes(bytes.to_vec()), &Limits::default(), &never)?;
        let container = sniff(&mut window)?;
        Ok((container, bytes.len() as u64 - window.len()))
    }

    /// Version 1, layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
    fn mp3_frames(count: usize) -> Vec<u8> {
        let mut frame = vec![0; 417];
        frame[..4].copy_from_slice(&[0xff, 0xfb, 0x90, 0x00]);
        frame.repeat(count)
    }

    #[test]
    fn frame_lengths_are_those_of_the_standard() {
        let len = |header: [u8; 4]| mpeg_frame(&header).map(|frame| (frame.len, frame.rate));
        assert_eq!(len([0xff, 0xfb, 0x90, 0]), Some((417, 44_100)));
        assert_eq!(len([0xff, 0xfb, 0x92, 0]), Some((418, 44_100)), "padded");
        assert_eq!(len([0xff, 0xf3, 0x84, 0]), Some((192, 24_000)), "version 2, 64 kbit/s");
        assert_eq!(len([0xff, 0xe3, 0x48, 0]), Some((288, 8_000)), "version 2.5, 32 kbit/s");
        assert_eq!(len([0xff, 0xfd, 0x84, 0]), Some((384, 48_000)), "layer II, 128 kbit/s");
        assert_eq!(len([0xff, 0xff, 0x44, 0]), Some((128, 48_000)), "layer I, 128 kbit/s");
        assert_eq!(len([0xff, 0xfb, 0xf0, 0]), None, "bit rate");
        assert_eq!(len([0xff, 0xfb, 0x00, 0]), None, "free format");
        assert_eq!(len([0xff, 0xfb, 0x9c, 0]), None, "sample rate");
    }

    #[test]
    fn frames_must_form_a_chain() {
        assert_eq!(container(&mp3_frames(3)), Ok((Container::Mpeg, 0)));
        assert_eq!(container(&mp3_frames(1)), Ok((Container::Mpeg, 0)), "a whole file of one frame");
        let junk = [&[0x55; 100][..], &mp3_frames(3)].concat();
        assert_eq!(container(&junk), Ok((Container::Mpeg, 100)), "a recording of a stream");
        assert!(container(&mp3_frames(1)[..416]).is_err(), "a part of one");
        let lone = [&[0x55; 100][..], &mp3_frames(1), &[0x55; 5000]].concat();
        assert_eq!(container(&lone), Err(AudioError::UnknownFormat { bytes: lone.len() as u64 }));
    }

    #[test]
    fn tags_are_cut_off() {
        let tag =
            |size: u8| [&b"ID3\x04\x00\x00\x00\x00\x01"[..], &[size], &[0xff; 128], &vec![0xff; size.into()]].concat();
        let file = [tag(5), tag(0), b"fLaC".to_vec()].concat();
        assert_eq!(container(&file), Ok((Container::Flac, file.len() as u64 - 4)));
    }

    #[test]
    fn text_is_no_audio() {
        for text in ["the free encyclopedia", "FORM of an application", "RIFFs on a WAVE", "ID3 and all that", "f"] {
            let unknown = Err(AudioError::UnknownFormat { bytes: text.len() as u64 });
            assert_eq!(container(text.as_bytes()), unknown, "{text}");
        }
    }
}
